//! Writes the inputs that the fuzz targets start from into `corpus/`, beside this crate's manifest.
//!
//! It is a target that does nothing with its input, so that it is built like the others.
#![no_main]

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::Path,
};

use libfuzzer_sys::fuzz_target;
use plugport::exposed::{
    archive::{ArchiveLimits, inspect},
    signature::{Keyring, read_manifest},
};
use plugport_fuzz::{PLUGIN, PLUGIN_JSON, SIGN, VERSION, signer};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

fuzz_target!(init: write_seeds(), |_input: &[u8]| {});

fn write_seeds() {
    for (target, seeds) in [
        ("inspector", packages()),
        ("manifest", manifests()),
        ("catalog", catalogs()),
        ("ranges", ranges()),
        ("search", searches()),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder).expect("the folder can be made");
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).expect("the seed can be written");
        }
        println!("{target}: {} seeds", seeds.len());
    }
}

fn ranges() -> Vec<Vec<u8>> {
    RANGES.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const RANGES: &[&str] = &[
    ">=8.0.0 <9.0.0 || ^10.4.1-beta.2\n8.0.0\n9.0.0-0\n10.4.1+build\n10.4",
    "*\n1.2.3\nv1.2.3\n1.2.3.4\n1.2.3-rc.1",
    "1.2 - 3.4.5\n1.2.0\n3.4.5\n3.4.6-a",
    "~1.2.3-alpha\n1.2.3-alpha.7\n1.3.0",
    "=v1.2.3+build\n1.2.3\n1.2.3+other",
    ">= 1.x || < 2 >1.0.X\nlatest\n0.0.0\n99999999999999999999.0.0",
    "\n1.0.0",
];

/// Two bytes of options, and words.
const SEARCHES: &[(u8, u8, &str)] = &[
    (0, 32, "redis"),
    (0, 32, "acme-tides-panel"),
    (2, 5, "clock\" OR 1=1 --"),
    (15, 32, "acme\nredis NEAR(a b) {id}: ^x*"),
    (64, 1, "Straße"),
    (128, 2, "\u{6f22}\u{5b57}"),
    (16, 32, "tidse"),
    (32, 0, "u\u{308}"),
];

fn searches() -> Vec<Vec<u8>> {
    SEARCHES.iter().map(|(options, limit, words)| [&[*options, *limit], words.as_bytes()].concat()).collect()
}

/// A name, how its bytes are kept, and its bytes.
type File<'a> = (&'a str, CompressionMethod, &'a [u8]);

const JSON: File<'static> = ("plugin.json", CompressionMethod::Deflated, PLUGIN_JSON.as_bytes());

fn packages() -> Vec<Vec<u8>> {
    let stored = ("module.js", CompressionMethod::Stored, &b"define([])"[..]);
    let unicode = ("img/logo \u{fc}.svg", CompressionMethod::Deflated, &b"<svg/>"[..]);
    let long = [7_u8; 300];
    let backend = ("gpx_tides_linux_amd64", CompressionMethod::Deflated, &long[..]);
    let manifest = ("MANIFEST.txt", CompressionMethod::Stored, &b"signed"[..]);
    let dist = ("dist/plugin.json", CompressionMethod::Stored, PLUGIN_JSON.as_bytes());
    let plain = SimpleFileOptions::default().last_modified_time(DateTime::default());
    let executable = plain.unix_permissions(0o755);
    let packages = vec![
        package(&[JSON], plain, ""),
        package(&[JSON, stored, unicode, manifest], plain, ""),
        package(&[JSON, stored, backend], executable, "built by hand"),
        package(&[dist, stored, unicode], plain.large_file(true), ""),
        package(&[JSON, ("img/", CompressionMethod::Stored, b""), unicode, dist], plain, ""),
        streamed(&[JSON, stored, unicode, backend], plain),
    ];
    // A target that starts from what is refused alone would compare nothing.
    for package in &packages {
        let (id, limits) = (PLUGIN.parse().expect("an id"), ArchiveLimits::default());
        inspect(&mut Cursor::new(package), &id, &limits).expect("a seed is accepted");
    }
    packages
}

fn package(files: &[File<'_>], options: SimpleFileOptions, comment: &str) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, method, bytes) in files {
        let name = format!("{PLUGIN}/{name}");
        if name.ends_with('/') {
            writer.add_directory(name, options).expect("a folder");
        } else {
            writer.start_file(name, options.compression_method(*method)).expect("a file");
            writer.write_all(bytes).expect("its bytes");
        }
    }
    writer.set_comment(comment).expect("a short comment");
    writer.finish().expect("the end").into_inner()
}

/// With data descriptors.
fn streamed(files: &[File<'_>], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new_stream(Vec::new());
    for (name, method, bytes) in files {
        writer.start_file(format!("{PLUGIN}/{name}"), options.compression_method(*method)).expect("a file");
        writer.write_all(bytes).expect("its bytes");
    }
    writer.finish().expect("the end").into_inner()
}

fn manifests() -> Vec<Vec<u8>> {
    let signer = signer();
    let files = BTreeMap::from([
        ("plugin.json".to_owned(), PLUGIN_JSON.as_bytes().to_vec()),
        ("module.js".to_owned(), b"define([])".to_vec()),
    ]);
    let signed = signer.manifest_text(PLUGIN, VERSION, &files);
    let plain = signer.manifest(PLUGIN, VERSION, &files);
    let mut private = plain.clone();
    private["signatureType"] = "private".into();
    private["rootUrls"] = serde_json::json!(["https://grafana.example/", "https://*.example/"]);
    private["files"]["../outside"] = "00".repeat(32).into();
    let keyring = Keyring::from_armored(signer.public_key().as_bytes()).expect("a key");
    read_manifest(signed.as_bytes(), &keyring).expect("a seed is accepted");
    let to_sign = |text: String| [&[SIGN][..], text.as_bytes()].concat();
    vec![
        signed.clone().into_bytes(),
        format!("{{\"plugin\":\"other\"}}\n{signed}{{}}").into_bytes(),
        signed.replace('\n', "\r\n").into_bytes(),
        signed.repeat(2).into_bytes(),
        to_sign(format!("{plain:#}")),
        to_sign(plain.to_string()),
        to_sign(private.to_string()),
        to_sign("- -----BEGIN PGP SIGNATURE-----\n{}".to_owned()),
    ]
}

fn catalogs() -> Vec<Vec<u8>> {
    let digest = "ab".repeat(32);
    let versions = format!(
        r#"{{"items":[{{"pluginSlug":"{PLUGIN}","version":"1.0.0","createdAt":"2024-01-02T03:04:05.000Z","isCompatible":true,"grafanaDependency":">=10.0.0","packages":{{"any":{{"md5":"0123456789abcdef0123456789abcdef","sha256":"{digest}","packageName":"any"}},"linux-amd64":{{"sha256":"{digest}"}}}}}},{{"pluginSlug":"{PLUGIN}","version":"1.1.0-beta"}}]}}"#
    );
    let detail = format!(
        r#"{{"slug":"{PLUGIN}","name":"Tides","typeCode":"panel","description":"Water","version":"1.1.0","status":"active","orgSlug":"acme","orgName":"Acme","signatureType":"community","downloads":12,"createdAt":"2024-01-02T03:04:05.000Z","keywords":["a"],"json":{{"dependencies":{{"grafanaDependency":">=9","plugins":[{{"id":"a-app","version":"^1","type":"app"}}]}}}},"packages":{{"any":{{"sha256":"{digest}"}}}}}}"#
    );
    let index = format!(
        r#"{{"plugins":[{{"id":"{PLUGIN}","type":"panel","versions":[{{"version":"1.0.0","arch":{{"any":{{"sha256":"{digest}"}}}}}},{{"version":"1.10.0"}}]}}]}}"#
    );
    vec![
        format!(r#"{{"items":[{detail},{{"slug":"b-app","typeCode":"app"}},null,{{"slug":"../x"}}]}}"#).into_bytes(),
        format!("[{detail}]").into_bytes(),
        detail.into_bytes(),
        versions.into_bytes(),
        index.into_bytes(),
        PLUGIN_JSON.as_bytes().to_vec(),
        br#"{"items": []}"#.to_vec(),
        b"<!doctype html>".to_vec(),
    ]
}
