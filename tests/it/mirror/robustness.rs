//! What hostile and broken clients get.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{CLOCK, Mirror, Request, clock, http::exchange, stored};
use crate::support::fake_grafana::catalog::FakeCatalog;

fn mirror() -> (crate::world::World, Mirror) {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let mirror = Mirror::start(&world, &[]);
    (world, mirror)
}

#[test]
fn ranges_and_conditions_are_answered_by_the_rfc() {
    let (_world, mirror) = mirror();
    let path = format!("/api/plugins/{CLOCK}/versions/1.0.0/download");
    let whole = mirror.get(&path);
    let (etag, length) = (whole.header("etag").to_owned(), whole.body.len());
    let of_range = |range: &str| mirror.send(Request::get(&path).header("Range", range));
    let part = of_range("bytes=2-5");
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[2..6]));
    assert_eq!(part.header("content-range"), format!("bytes 2-5/{length}"));
    assert_eq!(of_range("bytes=-4").body, whole.body[length - 4..]);
    let outside = of_range("bytes=999999999-").expect_refusal(416, "RangeNotSatisfiable");
    assert_eq!(outside.header("content-range"), format!("bytes */{length}"));
    assert_eq!(of_range("bytes=0-1,3-4").status, 200);
    let stale = mirror.send(Request::get(&path).header("Range", "bytes=0-1").header("If-Range", "\"x\""));
    assert_eq!(stale.status, 200);
    let known = mirror.send(Request::get(&path).header("If-None-Match", &format!("W/\"a\", {etag}")));
    assert_eq!((known.status, known.header("etag")), (304, etag.as_str()));
    let head = mirror.send(Request::new("HEAD", &path));
    assert_eq!((head.status, head.header("content-length")), (200, length.to_string().as_str()));
    let head = mirror.send(Request::new("HEAD", "/api/plugins/acme-nope"));
    assert_eq!(head.status, 404);
    let list = mirror.get("/api/plugins");
    let again = Request::get("/api/plugins").header("If-None-Match", list.header("etag"));
    assert_eq!(mirror.send(again).status, 304);
    let zipped = mirror.send(Request::get("/api/plugins").header("Accept-Encoding", "gzip"));
    assert_ne!(zipped.header("etag"), list.header("etag"), "each form has its own tag");
}

#[test]
fn methods_that_write_are_refused() {
    let (_world, mirror) = mirror();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let answer = mirror.send(Request::new(method, "/api/plugins")).expect_refusal(405, "MethodNotAllowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    mirror.send(Request::new(&"X".repeat(10_000), "/api/plugins")).expect_refusal(501, "NotImplemented");
    let options = mirror.send(Request::new("OPTIONS", "/api/plugins"));
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
    assert_eq!(options.header("access-control-allow-origin"), "");
    mirror.send(Request::new("POST", "/api/plugins").body("x")).expect_refusal(405, "MethodNotAllowed");
    mirror.send(Request::get("/api/plugins").body("x")).expect_refusal(413, "PayloadTooLarge");
}

#[test]
fn what_is_too_large_is_refused_in_words() {
    let (_world, mirror) = mirror();
    mirror.get(&format!("/api/plugins/{}", "x".repeat(9_000))).expect_refusal(414, "UriTooLong");
    let large = Request::get("/api/plugins").header("X-Large", &"x".repeat(70_000));
    mirror.send(large).expect_refusal(431, "RequestHeaderFieldsTooLarge");
    let many = (0..150).fold(Request::get("/api/plugins"), |request, at| request.header(&format!("X-{at}"), "1"));
    mirror.send(many).expect_refusal(431, "RequestHeaderFieldsTooLarge");
    let far_too_many =
        (0..2_000).fold(Request::get("/api/plugins"), |request, at| request.header(&format!("X-{at}"), "1"));
    mirror.send(far_too_many).expect_refusal(431, "RequestHeaderFieldsTooLarge");
    mirror.get(&format!("/api/plugins?{}", "x".repeat(66_000))).expect_refusal(414, "UriTooLong");
}

#[test]
fn smuggled_and_broken_requests_are_refused_and_the_connection_is_closed() {
    let (_world, mirror) = mirror();
    let get = "GET /api/plugins HTTP/1.1\r\nHost: x\r\n";
    for broken in [
        format!("{get}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"),
        format!("{get}Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\n\r\n"),
        format!("{get}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        format!("{get}X-Folded: a\r\n b\r\n\r\n"),
        format!("{get}X Space: a\r\n\r\n"),
        "GET /api/plugins HTTP/9.9\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let answer = exchange(&mirror.address, broken.as_bytes(), false);
        assert!([400, 413].contains(&answer.status), "{broken:?}: {}", answer.status);
        assert!(answer.json()["code"].is_string(), "{broken:?}");
    }
    let absolute = "GET http://evil.example/api/plugins HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = exchange(&mirror.address, absolute.as_bytes(), false);
    assert!(answer.status == 200 && !answer.text().contains("evil.example"));
    let bare = "GET /api/plugins HTTP/1.1\nHost: x\nConnection: close\n\n";
    assert_eq!(exchange(&mirror.address, bare.as_bytes(), false).status, 200);
    for path in ["/api/plugins/../../etc/passwd", "/api/plugins/%2e%2e/%2e%2e/etc/passwd", "/api/plugins/x%00"] {
        assert!([400, 404].contains(&mirror.get(path).status), "{path}");
    }
}

#[test]
fn it_stops_when_it_is_told_and_finishes_what_it_began() {
    let big = clock("1.0.0").file("big.bin", fastrand_bytes(8 << 20));
    let world = stored(FakeCatalog::new().publish(big));
    let mirror = Mirror::start(&world, &[]);
    let mut stream = TcpStream::connect(&mirror.address).expect("it listens");
    let request = Request::get(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download"));
    stream.write_all(&request.bytes()).expect("sent");
    let mut first = [0; 1_000];
    stream.read_exact(&mut first).expect("it began");
    let mut idle = TcpStream::connect(&mirror.address).expect("it listens");
    mirror.signal(rustix::process::Signal::TERM);
    std::thread::sleep(Duration::from_millis(500));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("nothing is cut");
    assert!(rest.len() > 8 << 20, "{} bytes", rest.len());
    idle.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    assert_eq!(idle.read(&mut first).unwrap_or(0), 0, "idle connections are closed");
    let (address, started) = (mirror.address.clone(), Instant::now());
    assert_eq!(mirror.stop_waiting(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
}

/// Returns bytes that do not compress.
fn fastrand_bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(count).collect()
}

#[test]
fn one_that_sends_nothing_does_not_keep_its_place() {
    let (_world, mirror) = mirror();
    let mut slow = TcpStream::connect(&mirror.address).expect("it listens");
    slow.write_all(b"GET /api/plugins HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("sent");
    slow.set_read_timeout(Some(Duration::from_secs(40))).expect("a socket");
    let started = Instant::now();
    let mut byte = [0];
    assert_eq!(slow.read(&mut byte).unwrap_or(0), 0);
    assert!((9..31).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}
