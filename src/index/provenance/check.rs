//! Recomputes the chain of the provenance log, and holds what the index has against it.

use std::collections::HashMap;

use rusqlite::{Row, types::ValueRef};

use super::{COLUMNS, ChainHead, HASHED, ProvenanceEvent, head_of, link};
use crate::{
    index::{Index, IndexError},
    model::Sha256Digest,
};

/// The outcome of a check of the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChainCheck {
    /// How many entries there are.
    pub entries: u64,
    /// The end, to compare with one that was written down elsewhere; nothing where the log is empty.
    pub head: Option<ChainHead>,
    /// What is not as it should be.
    pub faults: Vec<ChainFault>,
}

/// Something that the log and the index do not agree on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChainFault {
    /// Entries are gone.
    #[error("entry {expected} is missing: entry {found} follows")]
    Gap {
        /// The number that should come.
        expected: i64,
        /// The number that comes.
        found: i64,
    },
    /// An entry is not what was written.
    #[error("entry {number}, on `{}`, is not what was written: its hash does not fit", object.escape_debug())]
    Broken {
        /// Its number.
        number: i64,
        /// What it describes.
        object: String,
    },
    /// Something is in the index that no entry describes.
    #[error("there is no entry on the {what} `{}`", object.escape_debug())]
    NoEntry {
        /// `pin` or `package in the store`.
        what: &'static str,
        /// The plugin, the version and the platform.
        object: String,
    },
    /// Something in the index is not what the last entry says.
    #[error("the {what} `{}` is not what entry {number} says: {found} against {logged}", object.escape_debug())]
    Differs {
        /// `pin` or `package in the store`.
        what: &'static str,
        /// The plugin, the version and the platform.
        object: String,
        /// The last entry on it.
        number: i64,
        /// What the index has.
        found: String,
        /// What the entry says.
        logged: String,
    },
}

/// A package by its plugin, version and platform, as texts that may be anything.
type Key = (String, String, String);

/// What is recorded of a package, as it is used instead the columns, and in which entry.
#[derive(Clone, Debug, Default)]
struct Recorded {
    number: i64,
    sha256: Option<Vec<u8>>,
    md5: Option<Vec<u8>>,
    size: Option<i64>,
}

impl Recorded {
    fn describe(&self) -> String {
        let hex = |name: &str, digest: &Option<Vec<u8>>| {
            digest.as_ref().map(|digest| format!("{name}:{}", hex::encode(digest)))
        };
        let size = self.size.map(|size| format!("{size} bytes"));
        let known: Vec<_> = [hex("sha256", &self.sha256), hex("md5", &self.md5), size].into_iter().flatten().collect();
        if known.is_empty() { "no digest".to_owned() } else { known.join(" ") }
    }

    fn is(&self, other: &Self) -> bool {
        (&self.sha256, &self.md5, self.size) == (&other.sha256, &other.md5, other.size)
    }
}

/// What the log says last of every pin and of every package in the store.
#[derive(Default)]
struct Logged {
    pins: HashMap<Key, Recorded>,
    blobs: HashMap<Key, Recorded>,
}

impl Index {
    /// Reads the whole log, recomputes its hashes, and holds every pin and every package of the store against it.
    ///
    /// A log that was cut off at its end, with all that its last entries spoke of, or that was made anew from its start
    /// looks whole: only [`ChainCheck::head`] tells.
    pub fn check_provenance(&self) -> Result<ChainCheck, IndexError> {
        let _snapshot = self.snapshot()?;
        let (mut check, logged) = self.check_chain()?;
        let pins = "SELECT plugin.id, package.version, platform, sha256, md5, size
            FROM package JOIN plugin ON number = plugin ORDER BY plugin.id, package.version, platform";
        let blobs = "SELECT plugin, version, platform, sha256, md5, size FROM blob ORDER BY plugin, version, platform";
        for (sql, what, logged) in [(pins, "pin", &logged.pins), (blobs, "package in the store", &logged.blobs)] {
            let doing = "holding the index against its provenance log";
            let found = self.session().rows(doing, sql, [], |row| Ok((key_of(row, 0)?, recorded(row, 3, 0)?)))?;
            check.faults.extend(found.iter().filter_map(|(key, found)| fault_of(what, key, found, logged.get(key))));
        }
        Ok(check)
    }

    fn check_chain(&self) -> Result<(ChainCheck, Logged), IndexError> {
        let (mut check, mut logged) = (ChainCheck::default(), Logged::default());
        let (mut number, mut hash, mut bytes) = (0_i64, [0_u8; 32], Vec::new());
        let sql = format!("SELECT {COLUMNS}, number, hash FROM provenance ORDER BY number");
        self.session().rows("reading the provenance log", &sql, [], |row| {
            let (found, stored): (i64, [u8; 32]) = (row.get(12)?, row.get(13)?);
            if found != number.saturating_add(1) {
                check.faults.push(ChainFault::Gap { expected: number.saturating_add(1), found });
            }
            let mut fields = [ValueRef::Null; HASHED];
            for (column, field) in fields.iter_mut().enumerate() {
                *field = row.get_ref(column)?;
            }
            if link(&mut bytes, &hash, found, &fields) != stored {
                let (plugin, version, platform) = key_of(row, 1)?;
                check
                    .faults
                    .push(ChainFault::Broken { number: found, object: format!("{plugin}@{version} ({platform})") });
            }
            // From here on the chain is taken as recorded, so that one fault is reported once.
            (number, hash) = (found, stored);
            check.entries += 1;
            logged.take(row, found)
        })?;
        check.head = head_of(number, hash);
        Ok((check, logged))
    }
}

impl Logged {
    fn take(&mut self, row: &Row<'_>, number: i64) -> rusqlite::Result<()> {
        let (key, recorded) = (key_of(row, 1)?, recorded(row, 4, number)?);
        let is_stored = text_of(row, 0)? == ProvenanceEvent::Stored.as_str();
        let list = if is_stored { &mut self.blobs } else { &mut self.pins };
        list.insert(key, recorded);
        Ok(())
    }
}

fn fault_of(what: &'static str, key: &Key, found: &Recorded, logged: Option<&Recorded>) -> Option<ChainFault> {
    let (plugin, version, platform) = key;
    let object = format!("{plugin}@{version} ({platform})");
    match logged {
        None => Some(ChainFault::NoEntry { what, object }),
        Some(logged) if logged.is(found) => None,
        Some(logged) => {
            let (number, found, logged) = (logged.number, found.describe(), logged.describe());
            Some(ChainFault::Differs { what, object, number, found, logged })
        }
    }
}

/// Reads a text whatever it holds: a row that somebody changed is a finding, not a failure.
fn text_of(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    })
}

fn key_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Key> {
    Ok((text_of(row, column)?, text_of(row, column + 1)?, text_of(row, column + 2)?))
}

fn recorded(row: &Row<'_>, column: usize, number: i64) -> rusqlite::Result<Recorded> {
    Ok(Recorded { number, sha256: row.get(column)?, md5: row.get(column + 1)?, size: row.get(column + 2)? })
}

impl std::fmt::Display for ChainHead {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hash: &Sha256Digest = &self.hash;
        hash.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::{
        index::{
            Blob, migrations,
            tests::support::{Scratch, id, platform, plugin_called, put, record, release, time, version},
        },
        model::{Digests, Md5Digest, Platform, Signature},
    };

    fn blob(digest: u8, at: i64) -> Blob {
        Blob {
            plugin: id("a-clock-panel"),
            version: version("1.0.0"),
            platform: Platform::any(),
            sha256: Sha256Digest::from_bytes([digest; 32]),
            md5: Some(Md5Digest::from_bytes([digest; 16])),
            size: 10,
            plugin_json: "{}".to_owned(),
            weak: false,
            added_at: time(at),
        }
    }

    /// An index with two pins and a package in the store.
    fn filled(scratch: &Scratch) -> Index {
        let mut index = scratch.open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1), ("linux-amd64", 2)])]);
        index.put_blob_from(&blob(1, 5), Some("valid: community by acme, key 0a"), Some("here")).expect("put");
        index
    }

    /// Runs statements as somebody would who has the file, and returns what is found then.
    fn tampered(sql: &str) -> Vec<ChainFault> {
        let scratch = Scratch::new();
        let index = filled(&scratch);
        assert_eq!(index.check_provenance().expect("read").faults, []);
        let connection = Connection::open(scratch.path()).expect("open");
        let triggers = "DROP TRIGGER provenance_is_not_changed; DROP TRIGGER provenance_is_not_removed;
            DROP TRIGGER provenance_only_grows;";
        connection.execute_batch(&format!("{triggers}{sql}")).expect("somebody with the file may");
        index.check_provenance().expect("read").faults
    }

    #[test]
    fn an_entry_hashes_to_what_the_header_says() {
        let index = filled(&Scratch::new());
        let entries = index.provenance(&id("a-clock-panel")).expect("read");
        let mut before = vec![0_u8; 32];
        for entry in &entries {
            let mut bytes = before.clone();
            bytes.extend(entry.number.to_be_bytes());
            let digests = entry.package.digests;
            let columns: [Option<Vec<u8>>; HASHED] = [
                Some(entry.event.as_str().into()),
                Some(entry.plugin.as_str().into()),
                entry.version.as_ref().map(|version| version.as_str().into()),
                entry.platform.as_ref().map(|platform| platform.as_str().into()),
                digests.sha256.map(|digest| digest.as_bytes().to_vec()),
                digests.md5.map(|digest| digest.as_bytes().to_vec()),
                entry.package.size.map(|size| size.to_be_bytes().to_vec()),
                entry.signer.clone().map(String::into_bytes),
                entry.source.clone().map(String::into_bytes),
                Some(entry.at.as_milliseconds().to_be_bytes().to_vec()),
                entry.before.clone().map(String::into_bytes),
                entry.after.clone().map(String::into_bytes),
            ];
            for column in columns {
                match column {
                    None => bytes.push(0),
                    Some(value) => {
                        bytes.push(1);
                        bytes.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
                        bytes.extend(value);
                    }
                }
            }
            before = Sha256::digest(&bytes).to_vec();
            assert_eq!(entry.hash.as_bytes().as_slice(), before, "entry {}", entry.number);
        }
        let head = index.provenance_head().expect("read").expect("there are entries");
        assert_eq!((entries.len(), head.entries, head.hash), (3, 3, entries[2].hash));
    }

    #[test]
    fn every_first_seen_is_logged_once() {
        let scratch = Scratch::new();
        let mut index = filled(&scratch);
        let mut plugin = plugin_called("a-clock-panel", "Clock");
        plugin.signature =
            Signature { signature_type: "community".to_owned(), org: "acme".to_owned(), org_name: String::new() };
        let mut writer = index.begin_sync("there", time(7)).expect("begin");
        writer.put_plugin(&record(plugin)).expect("put");
        writer.put_release(&id("a-clock-panel"), &release("1.0.0", &[("any", 9), ("linux-arm64", 3)])).expect("put");
        writer.commit(&serde_json::json!({})).expect("commit");
        index.put_blob(&blob(1, 8)).expect("put");
        index.put_blob(&blob(4, 9)).expect("put");
        let entries = index.provenance(&id("a-clock-panel")).expect("read");
        let texts: Vec<_> = entries
            .iter()
            .map(|entry| (entry.event, entry.at, entry.signer.as_deref(), entry.source.as_deref()))
            .collect();
        let expected = [
            (ProvenanceEvent::Listed, time(1), Some("unsigned"), Some("here")),
            (ProvenanceEvent::Listed, time(1), Some("unsigned"), Some("here")),
            (ProvenanceEvent::Stored, time(5), Some("valid: community by acme, key 0a"), Some("here")),
            (ProvenanceEvent::Listed, time(7), Some("community by acme"), Some("there")),
            (ProvenanceEvent::Stored, time(9), None, None),
        ];
        assert_eq!(texts, expected);
        assert_eq!(entries[3].platform, Some(platform("linux-arm64")));
        assert_eq!(index.check_provenance().expect("read").faults, []);
    }

    #[test]
    fn a_pin_that_is_filled_is_logged_again() {
        let mut index = Scratch::new().open();
        let mut bare = release("1.0.0", &[("any", 1)]);
        for package in bare.packages.values_mut() {
            package.digests = Digests { sha256: None, md5: Some(Md5Digest::from_bytes([1; 16])) };
        }
        let mut whole = release("1.0.0", &[("any", 1)]);
        whole.packages.values_mut().for_each(|package| package.digests.md5 = Some(Md5Digest::from_bytes([1; 16])));
        put(&mut index, "a-clock-panel", &[bare]);
        put(&mut index, "a-clock-panel", &[whole.clone()]);
        put(&mut index, "a-clock-panel", &[whole]);
        assert_eq!(index.provenance(&id("a-clock-panel")).expect("read").len(), 2);
        assert_eq!(index.check_provenance().expect("read").faults, []);
    }

    #[test]
    fn the_log_refuses_to_be_changed() {
        let scratch = Scratch::new();
        let index = filled(&scratch);
        let copy =
            "number, event, plugin, version, platform, sha256, md5, size, signer, source, at, before, after, hash";
        for sql in [
            "UPDATE provenance SET signer = 'mallory' WHERE number = 1".to_owned(),
            "DELETE FROM provenance WHERE number = 3".to_owned(),
            format!("REPLACE INTO provenance ({copy}) SELECT {copy} FROM provenance WHERE number = 2"),
            format!("INSERT INTO provenance ({copy}) SELECT 9, {} FROM provenance WHERE number = 2", &copy[8..]),
        ] {
            let error = Connection::open(scratch.path()).expect("open").execute_batch(&sql).expect_err("it is refused");
            assert!(error.to_string().contains("only grows"), "{sql}: {error}");
        }
        assert_eq!(index.check_provenance().expect("read").faults, []);
    }

    #[test]
    fn whatever_is_changed_in_an_entry_is_found() {
        for set in [
            "event = 'accepted'",
            "signer = 'grafana'",
            "source = 'elsewhere'",
            "at = at + 1",
            "size = 7",
            "before = ''",
            "plugin = '../x'",
            "hash = zeroblob(32)",
            "md5 = zeroblob(16)",
        ] {
            let faults = tampered(&format!("UPDATE provenance SET {set} WHERE number = 2"));
            let broken = |fault: &ChainFault| matches!(fault, ChainFault::Broken { number: 2, .. });
            assert!(faults.iter().any(broken), "{set}: {faults:?}");
        }
    }

    #[test]
    fn entries_that_are_gone_are_missed() {
        let faults = tampered("DELETE FROM provenance WHERE number = 1");
        assert_eq!(faults[0], ChainFault::Gap { expected: 1, found: 2 });
        assert!(faults.iter().any(|fault| matches!(fault, ChainFault::NoEntry { what: "pin", .. })), "{faults:?}");
        let faults = tampered("DELETE FROM provenance WHERE number = 3");
        let object = "a-clock-panel@1.0.0 (any)".to_owned();
        assert_eq!(faults, [ChainFault::NoEntry { what: "package in the store", object }]);
    }

    #[test]
    fn a_pin_and_a_package_that_are_not_what_was_logged_are_found() {
        let faults = tampered("UPDATE package SET sha256 = zeroblob(32) WHERE platform = 'any'");
        assert!(matches!(faults[..], [ChainFault::Differs { what: "pin", number: 1, .. }]), "{faults:?}");
        let faults = tampered("UPDATE blob SET sha256 = zeroblob(32)");
        assert!(matches!(faults[..], [ChainFault::Differs { number: 3, .. }]), "{faults:?}");
    }

    /// What the module header says that this cannot find, so that nobody relies on it.
    #[test]
    fn a_log_that_is_cut_off_with_what_it_spoke_of_has_another_head() {
        let scratch = Scratch::new();
        let index = filled(&scratch);
        let head = index.provenance_head().expect("read");
        let cut = "DROP TRIGGER provenance_is_not_removed; DELETE FROM provenance WHERE number = 3; DELETE FROM blob;";
        Connection::open(scratch.path()).expect("open").execute_batch(cut).expect("somebody with the file may");
        let check = index.check_provenance().expect("read");
        assert_eq!(check.faults, []);
        assert_ne!(check.head, head);
    }

    #[test]
    fn what_an_index_of_before_holds_gets_entries_in_the_order_in_which_it_came() {
        let scratch = Scratch::new();
        let old = Connection::open(scratch.path()).expect("create");
        old.execute_batch(migrations::CATALOG).expect("the first step");
        old.execute_batch(migrations::SEARCH).expect("the second step");
        let digest = |byte: u8| format!("x'{}'", hex::encode([byte; 32]));
        old.execute_batch(&format!(
            "INSERT INTO source VALUES (1, 'here', NULL, NULL);
             INSERT INTO plugin VALUES (7, 'b-panel', 1, '', 'panel', '', '', '', '', '', NULL, 0, NULL, NULL, '', '', NULL,
                 NULL, 5, NULL);
             INSERT INTO plugin VALUES (8, 'a-panel', 1, '', 'panel', '', '', '', '', '', NULL, 0, NULL, NULL, '', '', NULL,
                 NULL, 5, NULL);
             INSERT INTO package VALUES (7, '1.0.0', 'any', {}, NULL, 9, 1, 6), (8, '1.0.0', 'any', {}, NULL, NULL, 0, 6),
                 (7, '0.9.0', 'any', NULL, NULL, NULL, 1, 5);
             INSERT INTO blob VALUES ('c-panel', '1.0.0', 'any', {}, NULL, 3, '{{}}', 1, 2);
             PRAGMA user_version = 2;",
            digest(1),
            digest(2),
            digest(3)
        ))
        .expect("rows");
        drop(old);
        let index = Index::open_existing(&scratch.path()).expect("migrates");
        let sql = "SELECT plugin || '@' || version || ' ' || event || ' ' || at FROM provenance ORDER BY number";
        let texts: Vec<String> = index.session().rows("reading", sql, [], |row| row.get(0)).expect("read");
        let expected =
            ["b-panel@0.9.0 listed 5", "a-panel@1.0.0 listed 6", "b-panel@1.0.0 listed 6", "c-panel@1.0.0 stored 2"];
        assert_eq!(texts, expected);
        assert_eq!(index.check_provenance().expect("read").faults, []);
        assert_eq!(index.provenance(&id("b-panel")).expect("read")[1].package.size, Some(9));
        assert_eq!(index.open_alerts(&id("b-panel")).expect("read"), []);
    }
}
