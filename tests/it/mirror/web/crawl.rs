//! Every link of every page leads to something.

use std::collections::{BTreeSet, VecDeque};

use super::{Mirror, check_page, gallery, page, tags};

/// Follows every link from a page on; returns the addresses of the site that were visited, with their status.
fn crawl(mirror: &Mirror, start: &str, check: impl Fn(&str, &str)) -> BTreeSet<String> {
    let (mut seen, mut waiting) = (BTreeSet::from([start.to_owned()]), VecDeque::from([start.to_owned()]));
    while let Some(path) = waiting.pop_front() {
        let answer = mirror.send(page(&path));
        assert_eq!(answer.status, 200, "{path}");
        if !answer.header("content-type").starts_with("text/html") {
            continue;
        }
        check_page(&path, &answer);
        for tag in tags(&answer.text()) {
            for (name, address) in tag.attributes {
                let leads = matches!(name.as_str(), "href" | "src" | "action");
                if !leads || !address.starts_with('/') {
                    continue;
                }
                check(&path, &address);
                // Filters on filters would be a list of everything.
                let is_one_of_many = address.matches(['&', '?']).count() > 1 + start.matches('?').count();
                if !is_one_of_many && seen.insert(address.clone()) {
                    waiting.push_back(address);
                }
            }
        }
    }
    seen
}

#[test]
fn every_link_leads_to_something() {
    let world = gallery::world();
    let mirror = gallery::mirror(&world, &[]);
    let seen = crawl(&mirror, "/", |_, _| ());
    for wanted in
        ["/changes", "/changes.atom", "/status", "/missing", "/?page=2", "/?type=panel", "/?sort=name", "/c/prod/"]
    {
        assert!(seen.contains(wanted), "{wanted} is not among {seen:?}");
    }
    let image = "/api/gnet/plugins/acme-tides-datasource/versions/2.1.0/images/img/week.svg";
    assert!(seen.contains(image) && seen.contains("/plugins/acme-tides-datasource/1.9.0"), "{seen:?}");
}

#[test]
fn every_link_keeps_the_version_of_grafana_the_channel_and_the_public_path() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &["--public-url", "https://mirror.example/plugins-of-ours"]);
    let start = "/c/prod/?grafana=12.1.0";
    let answer = mirror.send(page(start));
    check_page(start, &answer);
    let html = answer.text();
    let mut links = 0;
    for (name, address) in tags(&html).into_iter().flat_map(|tag| tag.attributes) {
        if !matches!(name.as_str(), "href" | "src" | "action") || !address.starts_with('/') {
            continue;
        }
        let rest = address.strip_prefix("/plugins-of-ours").unwrap_or_else(|| panic!("{address}"));
        let is_file = rest.starts_with("/-/");
        assert!(is_file || rest.starts_with("/c/prod/"), "{address}");
        let is_own = is_file || name == "action" || rest.ends_with("/logo") || rest.ends_with("changes.atom");
        // One link leads to the list without it.
        assert!(is_own || rest.contains("grafana=12.1.0") || address == "/plugins-of-ours/c/prod/", "{address}");
        links += usize::from(!is_file);
    }
    assert!(links > 20, "{html}");
    let page = mirror.send(page("/c/prod/plugins/acme-tides-datasource/2.1.0")).text();
    assert!(
        page.contains("grafana cli --repo https://mirror.example/plugins-of-ours/c/prod/api/plugins plugins install"),
        "{page}"
    );
    let image =
        "src=\"/plugins-of-ours/c/prod/api/gnet/plugins/acme-tides-datasource/versions/2.1.0/images/img/week.svg\"";
    assert!(page.contains(image), "{page}");
}
