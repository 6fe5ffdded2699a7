//! Attacks by whole classes: where one test beside the code shows a rule, these show that nothing gets past it.
//!
//! *Invariant:* every attack is made by code, and the rule that refuses it is named.
//! *Not for:* bombs that are measured from outside, which `tests/it/attacks.rs` has.

use std::ops::Range;

use super::zips::{EndRecord, PLUGIN_JSON, Zip, ZipPart, deflated, extra, inspect_bytes, stored};
use crate::archive::{ArchiveError, Rule};

const MODULE: &str = "acme-tides-panel/module.js";

fn module() -> ZipPart {
    deflated(MODULE, b"define([])")
}

fn rule_of_name(below: &str) -> Rule {
    Zip::plugin([stored(&format!("acme-tides-panel/{below}"), b"")]).broken()
}

fn position(bytes: &[u8], signature: [u8; 4]) -> usize {
    bytes.windows(4).rposition(|window| *window == signature).expect("it is there")
}

/// Flips every bit of a range, one at a time, and returns the bytes of which some bit may be flipped unnoticed, counted
/// from the start of the range.
fn unnoticed(whole: &[u8], range: Range<usize>) -> Vec<usize> {
    assert!(inspect_bytes(whole).is_ok(), "the whole package is valid");
    let mut found = Vec::new();
    for at in range.clone() {
        let accepted = (0..8).any(|bit| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << bit;
            inspect_bytes(&bytes).is_ok()
        });
        if accepted {
            found.push(at - range.start);
        }
    }
    found
}

#[test]
fn p2_no_control_direction_or_invisible_character_is_in_a_name() {
    let classes = [
        ("control", '\0'..='\u{1f}'),
        ("more controls", '\u{7f}'..='\u{9f}'),
        ("a hyphen that is not seen", '\u{ad}'..='\u{ad}'),
        ("a direction of Arabic", '\u{61c}'..='\u{61c}'),
        ("a vowel that is not seen", '\u{180e}'..='\u{180e}'),
        ("no width, and directions", '\u{200b}'..='\u{200f}'),
        ("ends of lines, and directions", '\u{2028}'..='\u{202e}'),
        ("joiners, and isolated directions", '\u{2060}'..='\u{2069}'),
        ("the mark of byte order", '\u{feff}'..='\u{feff}'),
        ("notes between lines", '\u{fff9}'..='\u{fffb}'),
        ("tags", '\u{e0000}'..='\u{e007f}'),
        ("a backslash", '\\'..='\\'),
        ("a colon", ':'..=':'),
    ];
    for (what, characters) in classes {
        for character in characters {
            let found = rule_of_name(&format!("a{character}b"));
            assert!(matches!(found, Rule::Name(_)), "{what}: {character:?}: {found:?}");
        }
    }
}

#[test]
fn p2_names_in_no_utf8_and_in_too_long_utf8_are_refused() {
    let slashes: [&[u8]; 5] = [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\x9c", b"\xc0\x80"];
    let others: [&[u8]; 5] = [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xc3", b"\x80"];
    for bytes in slashes.into_iter().chain(others) {
        let name = [b"acme-tides-panel/..", bytes, b"a"].concat();
        let part = stored(MODULE, b"").both(|fields| (fields.name, fields.flags) = (name.clone(), 1 << 11));
        assert!(matches!(Zip::plugin([part]).broken(), Rule::Encoding), "{bytes:x?}");
    }
}

#[test]
fn p1_p3_names_of_dots_and_blanks_are_refused() {
    for below in ["...", ".. ", " ", "a/. /b", "a/.../b", " .", ". ./x"] {
        assert!(matches!(rule_of_name(below), Rule::Name(_)), "{below:?}");
    }
}

#[test]
fn p4_no_spelling_of_a_letter_makes_a_second_file() {
    let pairs = [
        ("k", "K"),
        ("s", "\u{17f}"),
        ("i", "I"),
        ("é", "É"),
        ("ß", "ẞ"),
        ("ﬁ", "FI"),
        ("σ", "ς"),
        ("я", "Я"),
        ("ǆ", "ǅ"),
        ("a/b/c", "a/B/d"),
        ("img/x", "Img"),
        ("a ", "a"),
        ("a.", "a.."),
        ("a/x", "a./y"),
    ];
    for (one, other) in pairs {
        let parts = [one, other].map(|name| stored(&format!("acme-tides-panel/{name}"), b""));
        for parts in [parts.clone(), [parts[1].clone(), parts[0].clone()]] {
            let found = Zip::plugin(parts).broken();
            assert!(matches!(found, Rule::Collision(_)), "{one} {other}: {found:?}");
        }
    }
    let forms = [
        ("é", "e\u{301}"),
        ("k", "\u{212a}"),
        ("Å", "\u{212b}"),
        ("à", "a\u{340}"),
        ("가", "\u{1100}\u{1161}"),
        ("豈", "\u{f900}"),
    ];
    for (composed, other) in forms {
        let named = |name: &str| stored(&format!("acme-tides-panel/{name}/x"), b"");
        let found = Zip::plugin([named(composed), named(other)]).broken();
        assert!(matches!(found, Rule::Collision(_)), "{composed} {other:?}: {found:?}");
        assert!(Zip::plugin([named(other)]).inspect().is_ok(), "{other:?} collides with nothing");
    }
}

#[test]
fn p10_every_byte_of_a_local_header_counts_but_its_version_and_time() {
    let whole = Zip::plugin([module()]).build();
    let start = position(&whole, *b"PK\x03\x04");
    assert_eq!(unnoticed(&whole, start..start + 30 + MODULE.len()), [4, 5, 10, 11, 12, 13]);
}

#[test]
fn p10_p11_every_byte_of_a_record_counts_but_versions_times_and_notes() {
    let whole = Zip::plugin([module()]).build();
    let start = position(&whole, *b"PK\x01\x02");
    // The attributes at 38 to 41 have bits of rights among them.
    let harmless = [4, 5, 6, 7, 12, 13, 14, 15, 36, 37, 38, 39, 40, 41];
    assert_eq!(unnoticed(&whole, start..start + 46 + MODULE.len()), harmless);
}

#[test]
fn p12_every_byte_of_the_end_record_counts() {
    let whole = Zip::plugin([module()]).build();
    assert_eq!(unnoticed(&whole, whole.len() - 22..whole.len()), [0_usize; 0]);
}

#[test]
fn p13_every_byte_of_the_zip64_end_records_counts_but_versions() {
    let whole = Zip::plugin([module()]).end(EndRecord::widen).build();
    let start = position(&whole, *b"PK\x06\x06");
    // The lowest bit of the count of disks, at 56 + 16, makes it zero, which some writers write.
    assert_eq!(unnoticed(&whole, start..whole.len()), [12, 13, 14, 15, 72]);
}

#[test]
fn p13_zip64_records_that_are_double_far_or_not_last_are_refused() {
    let wide = Zip::plugin([module()]).end(EndRecord::widen).build();
    let start = position(&wide, *b"PK\x06\x06");
    let (record, locator, end) = (&wide[start..start + 56], &wide[start + 56..start + 76], &wide[start + 76..]);
    let entries = &wide[..start];
    let broken = |parts: &[&[u8]]| super::zips::broken(&parts.concat());
    assert!(matches!(broken(&[entries, record, record, locator, end]), Rule::Zip64));
    assert!(matches!(broken(&[entries, record, locator, locator, end]), Rule::Zip64));
    assert!(matches!(broken(&[entries, record, b"between", locator, end]), Rule::Zip64));
    assert!(matches!(broken(&[entries, record, locator, b"between", end]), Rule::TooManyEntries(_)));
    assert!(matches!(broken(&[entries, locator, end]), Rule::Zip64));
    assert!(matches!(broken(&[entries, record, end]), Rule::TooManyEntries(_)));
    let mut disks = locator.to_vec();
    disks[16] = 2;
    assert!(matches!(broken(&[entries, record, &disks, end]), Rule::Split));
    let plain = Zip::plugin([module()]).build();
    let plain_end = &plain[plain.len() - 22..];
    assert!(matches!(broken(&[entries, record, plain_end]), Rule::CentralDirectory), "a record that nothing locates");
}

#[test]
fn p14_a_unicode_path_that_is_cut_is_refused() {
    for length in 0..5 + MODULE.len() {
        let body = [&[1, 0, 0, 0, 0], MODULE.as_bytes()].concat();
        let cut = extra(0x7075, &body[..length]);
        for part in [
            module().local(|fields| fields.extra.clone_from(&cut)),
            module().central(|fields| fields.extra.clone_from(&cut)),
        ] {
            assert!(matches!(Zip::plugin([part]).broken(), Rule::UnicodePath), "{length}");
        }
    }
}

#[test]
fn p15_every_byte_of_a_data_descriptor_counts_in_every_form() {
    for (signed, wide) in [(true, false), (false, false), (true, true), (false, true)] {
        for part in [module(), stored(MODULE, b"define([])"), stored(MODULE, b"")] {
            let part = part.described(signed, wide);
            let broken = |after: Vec<u8>| {
                Zip::plugin([ZipPart { after, ..part.clone() }, stored("acme-tides-panel/last", b"x")]).broken()
            };
            for at in 0..part.after.len() {
                let mut wrong = part.after.clone();
                wrong[at] ^= 0x80;
                assert!(matches!(broken(wrong), Rule::DataDescriptor), "{signed} {wide}: byte {at}");
            }
            for length in 0..part.after.len() {
                let found = broken(part.after[..length].to_vec());
                assert!(matches!(found, Rule::DataDescriptor), "{signed} {wide}: cut to {length}: {found:?}");
            }
            let twice = broken([&part.after[..], &part.after].concat());
            assert!(matches!(twice, Rule::DataDescriptor | Rule::Gap), "{signed} {wide}: {twice:?}");
        }
    }
}

#[test]
fn p15_a_descriptor_of_another_width_than_announced_is_refused() {
    for signed in [true, false] {
        for wide in [true, false] {
            let (part, other) = (module().described(signed, wide), module().described(signed, !wide));
            let part = ZipPart { after: other.after, ..part };
            assert!(matches!(Zip::plugin([part]).broken(), Rule::DataDescriptor), "{signed} {wide}");
        }
    }
}

#[test]
fn p16_a_deflate_stream_cut_anywhere_is_refused() {
    let part = deflated(MODULE, b"the same again and again, the same again and again");
    for length in 0..part.data.len() {
        let cut = ZipPart { data: part.data[..length].to_vec(), ..part.clone() };
        let length = u32::try_from(length).expect("short");
        let found = Zip::plugin([cut.both(|fields| fields.compressed = length)]).broken();
        assert!(matches!(found, Rule::Deflate), "{length}: {found:?}");
    }
}

#[test]
fn p23_keys_that_are_equal_or_differ_in_case_are_refused_at_any_depth() {
    let of = |json: String| Zip::from_parts([deflated("acme-tides-panel/plugin.json", json.as_bytes())]).inspect();
    let inside = |value: &str| PLUGIN_JSON.replacen('{', &format!("{{\"extra\":{value},"), 1);
    assert!(of(inside("[{\"a\":{\"b\":1,\"c\":2}}]")).is_ok());
    for (one, other) in [
        ("b", "b"),
        ("b", "B"),
        ("b", "\\u0062"),
        ("é", "É"),
        ("s", "\u{17f}"),
        ("k", "\u{212a}"),
        ("σ", "ς"),
        ("ß", "ẞ"),
        ("", ""),
    ] {
        let object = format!("{{\"{one}\":1,\"{other}\":1}}");
        let deep = format!("{}{object}{}", "[".repeat(60), "]".repeat(60));
        let nested = [object.clone(), format!("[{object}]"), format!("{{\"a\":[1,{{\"b\":{object}}}]}}"), deep];
        for value in nested {
            let refused = of(inside(&value));
            let rule = match refused {
                Err(ArchiveError::Refused { rule, .. }) => rule,
                other => panic!("{value}: {other:?}"),
            };
            assert!(matches!(rule, Rule::PluginJson(_)), "{value}: {rule:?}");
        }
    }
    for twice in ["\"id\":\"acme-tides-panel\"", "\"Id\":\"other\"", "\"info\":{}", "\"INFO\":null"] {
        let json = PLUGIN_JSON.replacen('{', &format!("{{{twice},"), 1);
        assert!(of(json).is_err(), "{twice}");
    }
}
