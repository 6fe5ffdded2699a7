//! What a seal notices, and that it never stands over what it does not speak of.

use std::{fs, thread};

use super::*;
use crate::{
    diagnostic::{Diagnose as _, Kind},
    disk,
    index::{
        seal_file::seal_path,
        tests::support::{Scratch, id, plugin_called, put, record, release, time},
    },
    model::Sha256Digest,
};

fn filled() -> Scratch {
    let scratch = Scratch::new();
    put(&mut scratch.open(), "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
    scratch
}

/// Flips a bit within a text that no index of SQLite's has too, which fits as well as the right one.
fn flip(path: &Path) {
    const BEFORE: &[u8] = b"\"id\":\"";
    let mut bytes = fs::read(path).expect("read");
    let text = [BEFORE, b"a-clock-panel"].concat();
    let at = bytes.windows(text.len()).rposition(|window| window == text).expect("it is in there");
    bytes[at + BEFORE.len()] ^= 1;
    disk::write_atomic(path, &bytes, 0o644).expect("written");
}

fn names(scratch: &Scratch) -> Vec<String> {
    let folder = scratch.path().parent().map(Path::to_path_buf).expect("a folder");
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("read")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_writer_that_is_done_leaves_a_seal_and_a_copy_that_agree_with_the_file() {
    let scratch = filled();
    let seal = Seal::from_image(&fs::read(scratch.path()).expect("read"));
    assert_eq!(SealFile::read(&scratch.path()).expect("read"), SealFile::Found(seal));
    let copy = format!("index.snapshot-1-{}", seal.sha256);
    assert_eq!(names(&scratch), ["index.seal", &copy, "index.sqlite"]);
    put(&mut scratch.open(), "b-clock-panel", &[]);
    assert_eq!(names(&scratch).len(), 3, "the copy of before is gone");
    assert_eq!(Index::open_proven(&scratch.path()).expect("whole").prove().expect("whole"), SealState::Sealed);
}

#[test]
fn a_copy_that_a_writer_who_was_cut_off_left_beside_the_newest_goes_with_the_next_writer() {
    let scratch = filled();
    let older = scratch.path().with_extension(format!("snapshot-0-{}", Sha256Digest::from_bytes([1; 32])));
    disk::write_atomic(&older, b"of before", 0o644).expect("written");
    drop(scratch.open());
    assert!(!older.exists());
    assert_eq!(names(&scratch).len(), 3, "{:?}", names(&scratch));
}

#[test]
fn a_commit_that_the_seal_stands_in_the_way_of_tells_what_the_disk_said() {
    let scratch = filled();
    let mut index = scratch.open();
    // Neither a seal nor something that can be read or removed like one.
    let seal = seal_path(&scratch.path());
    fs::remove_file(&seal).expect("there");
    fs::create_dir(&seal).expect("made");
    let location = "https://example.com/";
    let writer = index.begin_sync(location, time(9)).expect("begun");
    let error = writer.commit(&serde_json::Value::Null).expect_err("refused");
    assert!(matches!(error, IndexError::Seal { .. }), "{error}");
    fs::remove_dir(&seal).expect("there");
}

#[test]
fn a_seal_that_is_not_as_it_was_written_is_told_from_a_damaged_index() {
    let seal = Seal::from_image(b"abc");
    let text = seal.text();
    assert_eq!(Seal::parse(&text), Some(seal));
    for at in 0..text.len() {
        for bit in [1, 2, 0x20] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= bit;
            let read = std::str::from_utf8(&bytes).ok().and_then(Seal::parse);
            assert_eq!(read, None, "byte {at} flipped by {bit}");
        }
    }
    let scratch = filled();
    disk::write_atomic(&seal_path(&scratch.path()), b"x", 0o644).expect("written");
    let index = Index::open_proven(&scratch.path()).expect("its pages fit together");
    assert_eq!(index.prove().expect("no damage"), SealState::SealUnreadable);
}

#[test]
fn what_sqlite_does_not_notice_the_seal_does() {
    let scratch = filled();
    flip(&scratch.path());
    let index = Index::open_existing(&scratch.path()).expect("opened");
    index.check().expect("SQLite sees nothing");
    let error = index.prove().expect_err("it is not what was sealed");
    assert!(matches!(error, IndexError::Damaged { source: IndexDamage::Seal { .. }, .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Storage);
    assert!(error.hint().is_some_and(|hint| hint.contains("doctor --repair")));
    assert!(matches!(Index::open_proven(&scratch.path()), Err(IndexError::Damaged { .. })));
}

#[test]
fn nothing_is_committed_on_top_of_damage_and_the_seal_stays_as_evidence() {
    let scratch = filled();
    flip(&scratch.path());
    let before = fs::read(scratch.path()).expect("read");
    let mut index = scratch.open();
    let mut writer = index.begin_sync("here", time(2)).expect("begin");
    writer.put_plugin(&record(plugin_called("b-clock-panel", "B"))).expect("put");
    let error = writer.commit(&serde_json::json!({})).expect_err("refused");
    assert!(matches!(error, IndexError::Damaged { source: IndexDamage::Seal { .. }, .. }), "{error:?}");
    drop(index);
    assert_eq!(fs::read(scratch.path()).expect("read"), before);
    assert!(matches!(SealFile::read(&scratch.path()), Ok(SealFile::Found(_))));
}

#[test]
fn a_writer_that_was_cut_off_leaves_no_seal_and_the_next_checks_and_seals() {
    let scratch = filled();
    let mut index = scratch.open();
    put(&mut index, "b-clock-panel", &[]);
    // As a killed process: nothing of it is run any more.
    std::mem::forget(index);
    assert_eq!(SealFile::read(&scratch.path()).expect("read"), SealFile::None);
    let index = Index::open_proven(&scratch.path()).expect("its pages fit together");
    assert_eq!(index.prove().expect("no damage"), SealState::Unsealed);
    drop(scratch.open());
    assert_eq!(index.prove().expect("no damage"), SealState::Sealed);
}

#[test]
fn a_reader_leaves_the_seal_alone() {
    let scratch = filled();
    let before = fs::metadata(seal_path(&scratch.path())).and_then(|found| found.modified()).expect("a seal");
    drop(Index::open_proven(&scratch.path()).expect("open"));
    drop(scratch.open());
    let after = fs::metadata(seal_path(&scratch.path())).and_then(|found| found.modified()).expect("a seal");
    assert_eq!(before, after);
}

/// Promise S23 with readers that prove what they read: writers and readers at once, and never a false alarm.
#[test]
fn a_seal_agrees_with_what_is_read_while_others_write() {
    let scratch = filled();
    let path = scratch.path();
    thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..8 {
                    let mut index = Index::open(path).expect("open");
                    put(&mut index, &format!("w{writer}-n{number}-panel"), &[]);
                    if number % 3 == 0 {
                        index.seal().expect("sealed, or another writes");
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..40 {
                    Index::open_existing(&path).expect("open").prove().expect("no damage");
                }
            });
        }
    });
    drop(scratch.open());
    let index = Index::open_proven(&path).expect("whole");
    assert_eq!((index.prove().expect("whole"), index.plugin_ids().expect("read").len()), (SealState::Sealed, 25));
}

#[test]
fn a_long_reader_does_not_keep_a_writer_from_sealing() {
    let scratch = filled();
    let reader = Index::open_existing(&scratch.path()).expect("open");
    let _snapshot = reader.snapshot().expect("snapshot");
    reader.plugin_ids().expect("read");
    put(&mut scratch.open(), "b-clock-panel", &[]);
    assert!(matches!(SealFile::read(&scratch.path()), Ok(SealFile::Found(_))));
    Index::open_proven(&scratch.path()).expect("whole");
}

#[test]
fn an_index_that_is_gone_is_not_begun_anew_while_there_is_a_copy() {
    let scratch = filled();
    let was = fs::read(scratch.path()).expect("read");
    fs::remove_file(scratch.path()).expect("removed");
    for open in [Index::open, Index::open_existing] {
        let error = open(&scratch.path()).expect_err("it is lost");
        assert!(matches!(error, IndexError::Lost { .. }), "{error:?}");
        assert!(!scratch.path().exists());
    }
    let index = Index::restore(&scratch.path(), time(9)).expect("restored").expect("there is a copy");
    assert_eq!(index.plugin(&id("a-clock-panel")).expect("read").map(|found| found.first_seen), Some(time(1)));
    assert_eq!(index.prove().expect("whole"), SealState::Sealed);
    drop(index);
    assert_eq!(fs::read(scratch.path()).expect("read"), was);
}

#[test]
fn a_copy_whose_bytes_are_not_those_of_its_name_is_not_used() {
    let scratch = filled();
    let copy = names(&scratch).into_iter().find(|name| name.starts_with("index.snapshot-")).expect("a copy");
    flip(&scratch.path().with_file_name(copy));
    let aside = Index::set_aside(&scratch.path(), time(9)).expect("moved");
    assert_eq!(aside, Some(scratch.path().with_file_name("index.damaged-9")));
    assert!(Index::restore(&scratch.path(), time(9)).expect("looked").is_none());
    assert_eq!(names(&scratch), ["index.damaged-9", "index.damaged-9-snapshot-1"]);
    drop(scratch.open());
}

/// The log of a file that is gone must never be taken for that of the copy that comes in its place.
#[test]
fn the_log_of_a_lost_index_is_not_replayed_into_its_copy() {
    let scratch = filled();
    let log = scratch.path().with_extension("sqlite-wal");
    let mut index = scratch.open();
    put(&mut index, "b-clock-panel", &[]);
    let bytes = fs::read(&log).expect("a log");
    std::mem::forget(index);
    fs::remove_file(scratch.path()).expect("removed");
    disk::write_atomic(&log, &bytes, 0o644).expect("written");
    let index = Index::restore(&scratch.path(), time(9)).expect("restored").expect("there is a copy");
    assert_eq!(index.plugin_ids().expect("read").len(), 1);
    index.check().expect("whole");
}

/// The disk refused the log's bytes: the commit failed here, and may be found done by whoever opens the index next.
#[test]
fn after_a_commit_that_failed_nothing_is_sealed_and_the_next_writer_checks_first() {
    let scratch = filled();
    let mut index = scratch.open();
    put(&mut index, "b-clock-panel", &[]);
    index.ledger.rolled_back();
    assert!(!index.seal().expect("no fault"), "what is in the log is not known");
    drop(index);
    let reader = Index::open_existing(&scratch.path()).expect("opened");
    assert_eq!(reader.prove().expect("no damage"), SealState::Unsealed);
    drop(scratch.open());
    assert_eq!(reader.prove().expect("no damage"), SealState::Sealed);
}

#[test]
fn a_sync_that_is_given_up_before_anything_was_committed_leaves_the_seal() {
    let scratch = filled();
    let mut index = scratch.open();
    drop(index.begin_sync("here", time(2)).expect("begin"));
    assert!(index.seal().expect("sealed"));
}
