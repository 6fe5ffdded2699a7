//! What to do about an archive that was refused.
//!
//! *Invariant:* there is a hint for every rule: how to pack the archive right if its packer can be at fault, and whom to ask
//! otherwise.
//! *Not for:* what is wrong: the text of the rule.

use super::{Rule, rule::FoundFormat};

const PACK: &str = "pack one folder that has everything in it: `zip -r PACKAGE.zip FOLDER`";
const DAMAGED: &str = "the archive is damaged or was made to deceive: download it again, and if it stays refused, ask its publisher for \
     another one";
const PACK_AGAIN: &str = "no common program writes this: do not use the archive unless you know where it is from; pack its content \
     again with `zip -r PACKAGE.zip FOLDER`";
const TOO_LARGE: &str = "no plugin needs that much: look at what is in it, and leave out what the plugin does not need to run, like \
     `node_modules` and sources";
const RENAME: &str = "rename it and pack again: two names that differ only in case, in accents that are composed or not, or in dots and \
     spaces at the end are one file on macOS and Windows";

/// Returns what to do about an archive that broke `rule` at `entry`.
pub(super) fn hint(rule: &Rule, entry: Option<&str>) -> &'static str {
    match rule {
        Rule::NotAZip(found) => hint_of_format(*found),
        Rule::EndRecord => "its end is cut or something was appended to it: download it again",
        Rule::Name(_) => hint_of_name(entry.unwrap_or_default()),
        Rule::Encoding => {
            "the names are in the code page of an old system: pack with a program that writes UTF-8, like `zip -r \
             PACKAGE.zip FOLDER` or `7z a -mcu=on PACKAGE.zip FOLDER`"
        }
        Rule::DeviceName => "Windows cannot create a file of that name: rename it and pack again",
        Rule::Collision(_) | Rule::Duplicate | Rule::FileAndFolder => RENAME,
        Rule::Link => {
            "packages have no links: pack the files that they point to, as `zip -r PACKAGE.zip FOLDER` does without \
             `--symlinks`"
        }
        Rule::SpecialFile => "remove it from the folder and pack again",
        Rule::MacMetadata => {
            "macOS added it: remove it with `zip -d PACKAGE.zip '__MACOSX/*'`, or pack with `zip -r -X PACKAGE.zip FOLDER`"
        }
        Rule::TopLevelFile => {
            "the files are at the top level: pack the folder that has them, from the folder above it: `zip -r PACKAGE.zip \
             FOLDER`"
        }
        Rule::RootName => {
            "rename the folder, best to the plugin's id: letters without accents, digits, `.`, `_` and `-`; then pack again"
        }
        Rule::SecondRoot(_) | Rule::NoPluginJson => {
            "pack the built plugin and nothing else: one folder with `plugin.json` in it or in its `dist`"
        }
        Rule::Empty => PACK,
        Rule::Encrypted => "packages have no password: unpack it with yours, and pack again without one",
        Rule::Method(_) | Rule::Split => "pack it as one file with the usual compression: `zip -r PACKAGE.zip FOLDER`",
        Rule::PackageTooLarge(_) | Rule::TooManyEntries(_) | Rule::UnpackedTooLarge(_) | Rule::FileTooLarge(_) => {
            TOO_LARGE
        }
        Rule::PluginJson(_) => "repair that file, whose publisher can say what it should be, and pack again",
        Rule::OtherPlugin(_) => "the archive is of another plugin than was asked for: compare with another source",
        Rule::SecondPluginJson => {
            "leave out the one that is not used and pack again: Grafana reads `plugin.json` first"
        }
        Rule::Checksum | Rule::Size | Rule::Deflate | Rule::DeflateTail => DAMAGED,
        Rule::SecondEndRecord
        | Rule::Zip64
        | Rule::CentralDirectory
        | Rule::Flags(_)
        | Rule::KindUnclear
        | Rule::UnicodePath
        | Rule::Extra
        | Rule::Gap
        | Rule::Overlap
        | Rule::LocalHeader(_)
        | Rule::DataDescriptor
        | Rule::SecondOpinion => PACK_AGAIN,
    }
}

fn hint_of_format(found: FoundFormat) -> &'static str {
    match found {
        FoundFormat::CutZip => "its end is missing: download it again",
        FoundFormat::WebPage => {
            "a web page was saved instead of the package, often one that asks to sign in: look at it and at the address"
        }
        FoundFormat::Other => "Grafana installs zip archives only: pack one folder with `zip -r PACKAGE.zip FOLDER`",
        _ => "Grafana installs zip archives only: unpack it, and pack its folder with `zip -r PACKAGE.zip FOLDER`",
    }
}

fn hint_of_name(name: &str) -> &'static str {
    if name.contains('\\') {
        "old programs of Windows write `\\` for `/` (`Compress-Archive` of PowerShell 5): pack with PowerShell 7, 7-Zip, or \
         `tar -a -cf PACKAGE.zip FOLDER`"
    } else if name.starts_with('/') {
        "the name is absolute: pack from the folder above the plugin's, `cd PARENT` and `zip -r PACKAGE.zip FOLDER`"
    } else if name.contains("..") {
        "the name leads out of the folder, which no plugin needs: do not use the archive unless you know where it is from"
    } else {
        "rename it and pack again; no name has a colon, an invisible character, a part of dots and spaces alone, or more \
         than 32 folders, 255 bytes in a part or 1,024 in all"
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        archive::{
            ArchiveError,
            tests::zips::{PLUGIN_JSON, Zip, ZipPart, deflated, inspect_bytes, stored},
        },
        diagnostic::{Chain, Diagnose},
    };

    fn refused(bytes: &[u8]) -> (String, String) {
        let error = inspect_bytes(bytes).expect_err("refused");
        (Chain(&error).to_string(), error.hint().expect("every refusal has a hint"))
    }

    #[test]
    fn a_refusal_says_what_it_is_and_how_to_pack_it_right() {
        let with = |name: &str| Zip::plugin([stored(name, b"x")]).build();
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        let linked = Zip::plugin([stored("acme-tides-panel/x", b"/etc").mode(0o120_777)]).build();
        let cut = Zip::plugin([]).build();
        let cp437 = stored("acme-tides-panel/?", b"")
            .both(|fields| fields.name = b"acme-tides-panel/\x81bersicht.png".to_vec());
        let table: [(&[u8], &str, &str); 13] = [
            (&with("plugin.json"), "at `plugin.json`: it is in no folder", "from the folder above it"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "it is a gzip file, not a zip archive", "unpack it, and pack its folder"),
            (&tar, "it is a tar archive, not a zip archive", "zip -r PACKAGE.zip FOLDER"),
            (b"<!doctype html><title>Sign in</title>", "it is a web page", "sign in"),
            (&cut[..cut.len() / 2], "no end record", "download it again"),
            (&with("acme-tides-panel\\a"), "at `acme-tides-panel\\\\a`", "PowerShell 7"),
            (&with("__MACOSX/acme-tides-panel/._a"), "at `__MACOSX/acme-tides-panel/._a`", "zip -d PACKAGE.zip"),
            (&with("/etc/passwd"), "at `/etc/passwd`", "the name is absolute"),
            (&with("acme-tides-panel/../../x"), "at `acme-tides-panel/../../x`", "leads out of the folder"),
            (&with("other/a"), "at `other/a`: it is not in `acme-tides-panel`", "one folder with `plugin.json`"),
            (&linked, "at `acme-tides-panel/x`: it is a symbolic link", "packages have no links"),
            (&Zip::plugin([cp437]).build(), "its name is not UTF-8", "pack with a program that writes UTF-8"),
            (
                &Zip::from_parts([stored("x/a", b"")]).build(),
                "neither `plugin.json` nor `dist/plugin.json`",
                "its `dist`",
            ),
        ];
        for (bytes, what, wanted) in table {
            let (line, hint) = refused(bytes);
            assert!(line.contains(what) && hint.contains(wanted), "{line}\nhint: {hint}");
        }
    }

    #[test]
    fn no_refusal_is_without_a_hint() {
        let part = || deflated("acme-tides-panel/a", b"content of some length");
        let changed: [(&str, ZipPart); 6] = [
            ("checksum", part().both(|fields| fields.crc ^= 1)),
            ("method", part().both(|fields| fields.method = 12)),
            ("flags", part().both(|fields| fields.flags |= 1 << 5)),
            ("encrypted", part().both(|fields| fields.flags |= 1)),
            ("local", part().local(|fields| fields.crc ^= 1)),
            ("device", stored("acme-tides-panel/nul", b"")),
        ];
        for (what, part) in changed {
            let error = Zip::plugin([part]).inspect().expect_err(what);
            assert!(matches!(&error, ArchiveError::Refused { entry: Some(_), .. }), "{what}");
            assert!(error.hint().is_some_and(|hint| hint.len() > 20), "{what}");
        }
        let json = deflated("acme-tides-panel/plugin.json", PLUGIN_JSON.replace("\"id\"", "\"ID_\"").as_bytes());
        let (line, hint) = refused(&Zip::from_parts([json]).build());
        assert!(line.contains("`acme-tides-panel/plugin.json`") && hint.contains("repair that file"), "{line} {hint}");
    }
}
