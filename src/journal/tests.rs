use std::{collections::BTreeMap, fs};

use super::*;
use crate::{
    diagnostic::{Diagnose, Kind},
    model::Presence,
    rollout::{Base, PlanId, PlanSummary, Task, TaskResult},
};

const NOW: Timestamp = Timestamp::from_milliseconds(1_795_400_000_000);

fn plan() -> Plan {
    Plan {
        plan_id: PlanId::default(),
        made_at: NOW,
        base: Base::default(),
        changes: Vec::new(),
        blocked: Vec::new(),
        summary: PlanSummary::default(),
        content: Vec::new(),
        unmanaged: Vec::new(),
        warnings: Vec::new(),
        workspaces: BTreeMap::new(),
        waves: Vec::new(),
        policy: crate::rollout::Rollout::default(),
    }
    .sealed()
}

fn entry(record: Record) -> JournalEntry {
    JournalEntry { at: NOW, record }
}

fn started() -> JournalEntry {
    entry(Record::Started { by: "me@here, process 1".to_owned() })
}

fn intent() -> JournalEntry {
    entry(Record::Intent { workspace: "prod".parse().expect("a name"), task: Task::Forward { step: 0 } })
}

fn ended() -> JournalEntry {
    let result = TaskResult::Done {
        before: Presence::Version("1.0.0".parse().expect("a version")).into(),
        note: Some("ü \u{202e}".to_owned()),
    };
    entry(Record::Ended { workspace: "prod".parse().expect("a name"), task: Task::Forward { step: 0 }, result })
}

fn finished() -> JournalEntry {
    entry(Record::Finished { ending: Ending::Done })
}

/// A process that there is not: numbers end long before.
const GONE: u32 = 4_000_000_000;

fn me() -> Operator {
    Operator { user: "me".to_owned(), host: "here".to_owned(), pid: GONE }
}

fn id(chance: u16) -> RolloutId {
    RolloutId::new(NOW, chance)
}

fn claim<'a>(me: &'a Operator, others: Liveness, instead: Option<&'a str>) -> LockClaim<'a> {
    LockClaim { me, others, instead }
}

struct JournalFixture {
    folder: tempfile::TempDir,
}

impl JournalFixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rollouts.sqlite")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.path()).expect("opened")
    }
}

fn begun(journal: &mut Journal, chance: u16) -> Fence {
    let fence = journal.take(&id(chance), claim(&me(), Liveness::Alone, None), NOW).expect("free");
    journal.create(&id(chance), &plan(), &fence, &started()).expect("created");
    fence
}

#[test]
fn a_rollout_is_read_as_it_was_written_also_by_another_process() {
    let place = JournalFixture::new();
    assert!(Journal::open_existing(&place.path()).expect("nothing there").is_none());
    let mut journal = place.open();
    let fence = begun(&mut journal, 1);
    journal.append(&id(1), &fence, &[intent(), ended()]).expect("appended");
    let other = Journal::open_existing(&place.path()).expect("opened").expect("there");
    let told = other.load(&id(1)).expect("loaded");
    assert_eq!((told.plan, told.entries), (plan(), vec![started(), intent(), ended()]));
    assert_eq!(other.holder().expect("read").expect("held").operator, me());
}

#[test]
fn a_rollout_is_finished_where_its_last_entry_says_so() {
    let place = JournalFixture::new();
    let mut journal = place.open();
    let fence = begun(&mut journal, 1);
    assert_eq!(journal.find(None).expect("there").ending, None);
    let error = journal.create(&id(2), &plan(), &fence, &started()).expect_err("one is unfinished");
    assert!(matches!(&error, JournalError::Unfinished(unfinished) if *unfinished == id(1)), "{error}");
    journal.append(&id(1), &fence, &[finished()]).expect("appended");
    assert_eq!(journal.find(None).expect("there").ending, Some(Ending::Done));
    journal.append(&id(1), &fence, &[entry(Record::RollingBack { reason: "undo".to_owned() })]).expect("appended");
    assert_eq!(journal.find(None).expect("there").ending, None);
}

#[test]
fn a_rollout_is_found_by_the_beginning_of_its_name() {
    let place = JournalFixture::new();
    let mut journal = place.open();
    assert!(matches!(journal.find(None), Err(JournalError::Nothing)));
    for chance in [0x1111, 0x2222] {
        let fence = begun(&mut journal, chance);
        journal.append(&id(chance), &fence, &[finished()]).expect("appended");
    }
    let name = id(0x1111).to_string();
    assert_eq!(journal.find(Some(&name[..17])).expect("one").id, id(0x1111));
    assert!(matches!(journal.find(Some("2")), Err(JournalError::Ambiguous(_))));
    assert!(matches!(journal.find(Some("x")), Err(JournalError::NoSuchRollout(_))));
    assert_eq!(journal.find(None).expect("the last").id, id(0x2222));
}

/// Fault W23.
#[test]
fn a_second_operator_is_refused_and_who_had_the_lock_taken_writes_nothing_more() {
    let place = JournalFixture::new();
    let mut first = place.open();
    let fence = begun(&mut first, 1);
    let mut second = place.open();
    let them = Operator { user: "them".to_owned(), host: "there".to_owned(), pid: 2 };
    for others in [Liveness::Alone, Liveness::Taken, Liveness::Unknown] {
        let error = second.take(&id(1), claim(&them, others, None), NOW).expect_err("held");
        assert_eq!(error.kind(), Kind::Locked);
        assert!(error.to_string().contains("me@here, process 4000000000"), "{error}");
        assert!(error.hint().expect("a hint").contains(&format!("--take-lock {}", fence.lock)));
    }
    assert!(matches!(
        second.take(&id(1), claim(&them, Liveness::Alone, Some("9-0000")), NOW),
        Err(JournalError::NoSuchLock(_))
    ));
    let taken = second.take(&id(1), claim(&them, Liveness::Unknown, Some(&fence.lock)), NOW).expect("taken");
    let error = first.append(&id(1), &fence, &[intent()]).expect_err("fenced off");
    assert!(matches!(error, JournalError::Taken { .. }), "{error}");
    second.append(&id(1), &taken, &[intent()]).expect("appended");
    first.give_back(&fence, NOW).expect("nothing happens");
    second.append(&id(1), &taken, &[ended()]).expect("still held");
    assert_eq!(second.load(&id(1)).expect("loaded").entries.len(), 3);
}

#[test]
fn a_lock_of_this_machine_whose_process_is_gone_is_taken_over() {
    let place = JournalFixture::new();
    let mut first = place.open();
    let fence = begun(&mut first, 1);
    let mut second = place.open();
    let again = Operator { pid: 2, ..me() };
    for others in [Liveness::Taken, Liveness::Unknown] {
        assert!(matches!(second.take(&id(1), claim(&again, others, None), NOW), Err(JournalError::Held { .. })));
    }
    let taken = second.take(&id(1), claim(&again, Liveness::Alone, None), NOW).expect("its holder is gone");
    assert!(matches!(first.append(&id(1), &fence, &[intent()]), Err(JournalError::Taken { .. })));
    second.give_back(&taken, NOW).expect("given back");
    assert_eq!(second.holder().expect("read"), None);
    assert!(matches!(second.append(&id(1), &taken, &[intent()]), Err(JournalError::Taken { .. })));
}

/// Found by a review: who took a lock by force does not hold the lock file, and lost the lock to whoever came next.
#[test]
fn a_lock_of_this_machine_whose_process_lives_is_not_taken_over() {
    let place = JournalFixture::new();
    let mut first = place.open();
    let alive = Operator { pid: std::process::id(), ..me() };
    first.take(&id(1), claim(&alive, Liveness::Alone, None), NOW).expect("taken");
    let refused = place.open().take(&id(1), claim(&me(), Liveness::Alone, None), NOW);
    assert!(matches!(refused, Err(JournalError::Held { .. })));
}

#[test]
fn entries_that_were_changed_removed_or_added_are_not_believed() {
    for damage in [
        "UPDATE entry SET text = replace(text, '1.0.0', '1.0.1') WHERE number = 2",
        "DELETE FROM entry WHERE number = 2",
        "DELETE FROM entry WHERE number = 1",
        "UPDATE entry SET number = 7 WHERE number = 2",
        "UPDATE entry SET digest = zeroblob(32) WHERE number = 0",
        "UPDATE rollout SET plan = replace(plan, 'plugin', 'plugim')",
        "UPDATE rollout SET head = zeroblob(32)",
        "UPDATE rollout SET entries = -1",
        "INSERT INTO entry SELECT rollout, 3, 'x', digest FROM entry WHERE number = 2",
    ] {
        let place = JournalFixture::new();
        let mut journal = place.open();
        let fence = begun(&mut journal, 1);
        journal.append(&id(1), &fence, &[intent(), ended()]).expect("appended");
        journal.connection.execute(damage, []).expect(damage);
        let error = journal.load(&id(1)).expect_err(damage);
        assert!(matches!(error, JournalError::Damaged { .. }), "{damage}: {error}");
        assert_eq!(error.kind(), Kind::Storage);
    }
}

#[test]
fn bytes_that_are_no_journal_are_an_error() {
    for bytes in [b"short".to_vec(), vec![7; 4096]] {
        let place = JournalFixture::new();
        crate::disk::write_atomic(&place.path(), &bytes, 0o644).expect("written");
        assert!(matches!(Journal::open(&place.path()), Err(JournalError::Damaged { .. })));
        assert!(matches!(Journal::open_existing(&place.path()), Err(JournalError::Damaged { .. })));
    }
}

#[test]
fn a_page_that_was_overwritten_is_an_error_and_no_panic() {
    let place = JournalFixture::new();
    let mut journal = place.open();
    let fence = begun(&mut journal, 1);
    for _ in 0..200 {
        journal.append(&id(1), &fence, &[intent(), ended()]).expect("appended");
    }
    drop(journal);
    let bytes = fs::read(place.path()).expect("read");
    let mut refused = 0;
    for start in (100..bytes.len()).step_by(997) {
        let mut damaged = bytes.clone();
        let end = damaged.len().min(start + 64);
        damaged[start..end].fill(0xA5);
        crate::disk::write_atomic(&place.path(), &damaged, 0o644).expect("written");
        let read = Journal::open_existing(&place.path()).and_then(|journal| {
            let journal = journal.ok_or(JournalError::Nothing)?;
            journal.list()?;
            journal.holder()?;
            journal.load(&id(1)).map(|told| told.entries.len())
        });
        match read {
            // What lies between the rows is nobody's.
            Ok(count) => assert_eq!(count, 401),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_journal_of_a_newer_program_is_not_touched() {
    let place = JournalFixture::new();
    place.open().connection.pragma_update(None, "user_version", 99).expect("set");
    assert!(matches!(Journal::open(&place.path()), Err(JournalError::Newer { found: 99, .. })));
    assert!(matches!(Journal::open_existing(&place.path()), Err(JournalError::Newer { .. })));
}
