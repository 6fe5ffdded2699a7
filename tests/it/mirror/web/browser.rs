//! The pages in a real browser, as `tests/web/browser.mjs` drives it.

use super::gallery;

/// Runs the command of `PLUGPORT_BROWSER_TEST` with the address of a mirror; `tests/run browser` sets it.
#[test]
fn pages_work_in_a_browser() {
    let Some(command) = std::env::var_os("PLUGPORT_BROWSER_TEST") else {
        println!("not run: PLUGPORT_BROWSER_TEST names no command; `tests/run browser` does");
        return;
    };
    let world = gallery::world();
    let mirror = gallery::mirror(&world, &[]);
    let mut shell = std::process::Command::new("sh");
    let status = shell.arg("-c").arg(command).env("MIRROR", format!("http://{}", mirror.address)).status();
    assert!(status.expect("a shell").success(), "the browser test failed");
}
