//! The handle under panics, replaced files, many readers and a writer.

use std::thread;

use super::*;
use crate::index::{
    Since,
    tests::support::{Scratch, put, release, time},
};

fn filled() -> (Scratch, IndexHandle) {
    let scratch = Scratch::new();
    put(&mut scratch.open(), "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
    let handle = IndexHandle::new(scratch.path());
    (scratch, handle)
}

async fn count(handle: &IndexHandle) -> usize {
    handle.read(Index::plugin_ids).await.expect("read").len()
}

#[tokio::test]
async fn a_panic_in_a_query_does_not_end_the_index() {
    let (_scratch, handle) = filled();
    let (reader, writer) = (handle.clone(), handle.open_writer().await.expect("opened"));
    let read = tokio::spawn(async move { reader.read(|_| -> Result<(), IndexError> { panic!("in a query") }).await });
    assert!(read.await.expect_err("it panicked").is_panic());
    let same = writer.clone();
    let written = tokio::spawn(async move {
        let work = |index: &mut Index| -> Result<(), IndexError> {
            let _open = index.begin_sync("here", time(2))?;
            panic!("in a transaction")
        };
        same.run(work).await
    });
    assert!(written.await.expect_err("it panicked").is_panic());
    assert_eq!(count(&handle).await, 1);
    writer
        .run(|index| {
            put(index, "b-clock-panel", &[]);
            Ok::<_, IndexError>(())
        })
        .await
        .expect("written");
    writer.close().await;
    assert_eq!(count(&handle).await, 2);
}

#[tokio::test]
async fn nothing_runs_on_the_thread_that_drives_futures() {
    let (_scratch, handle) = filled();
    let here = thread::current().id();
    let elsewhere = |_: &Index| Ok::<_, IndexError>(thread::current().id());
    assert_ne!(handle.read(elsewhere).await.expect("read"), here);
    assert_ne!(handle.proven(elsewhere).await.expect("read"), here);
    assert_ne!(handle.write(|_| Ok::<_, IndexError>(thread::current().id())).await.expect("written"), here);
}

#[tokio::test]
async fn without_an_index_only_the_one_who_creates_it_succeeds() {
    let scratch = Scratch::new();
    let handle = IndexHandle::new(scratch.path());
    let missing = |result| matches!(result, Err(IndexError::Missing { .. }));
    assert!(missing(handle.read(|_| Ok(())).await) && missing(handle.prove().await));
    assert!(missing(handle.write(|_| Ok(())).await));
    assert!(!scratch.path().exists());
    handle.create_writer().await.expect("created").close().await;
    assert_eq!(count(&handle).await, 0);
}

#[tokio::test]
async fn a_read_sees_one_state_and_the_next_one_the_newer() {
    let (_scratch, handle) = filled();
    let (began, has_begun) = std::sync::mpsc::channel();
    let (written, is_written) = std::sync::mpsc::channel::<()>();
    let reader = handle.clone();
    let read = tokio::spawn(async move {
        let work = move |index: &Index| {
            let before = index.plugin_ids()?.len();
            let _ = began.send(());
            let _ = is_written.recv();
            Ok::<_, IndexError>((before, index.plugin_ids()?.len()))
        };
        reader.read(work).await
    });
    run_blocking(move || has_begun.recv()).await.expect("it reads");
    let add = |index: &mut Index| {
        put(index, "b-clock-panel", &[]);
        Ok::<_, IndexError>(())
    };
    handle.write(add).await.expect("written");
    drop(written);
    assert_eq!(read.await.expect("no panic").expect("read"), (1, 1));
    assert_eq!(count(&handle).await, 2);
}

#[tokio::test]
async fn a_writer_is_sealed_when_it_is_closed_and_the_next_one_waits_for_it() {
    let (_scratch, handle) = filled();
    let writer = handle.open_writer().await.expect("opened");
    let next = tokio::spawn({
        let handle = handle.clone();
        async move { handle.write(|index| index.changes(Since::Sync(0)).map(|changes| changes.len())).await }
    });
    let add = |index: &mut Index| {
        put(index, "b-clock-panel", &[]);
        Ok::<_, IndexError>(())
    };
    writer.run(add).await.expect("written");
    assert!(!next.is_finished());
    writer.close().await;
    assert_eq!(handle.examine().await.expect("intact"), SealState::Sealed);
    next.await.expect("no panic").expect("written");
}

#[tokio::test]
async fn an_index_that_was_restored_is_opened_anew() {
    let (scratch, handle) = filled();
    assert_eq!(count(&handle).await, 1);
    // Another process repairs the index while this one keeps a connection to it.
    let restored = IndexHandle::new(scratch.path()).restore(Timestamp::from_milliseconds(9)).await.expect("restored");
    assert!(restored.is_restored && restored.aside.is_some());
    let add = |index: &mut Index| {
        put(index, "b-clock-panel", &[]);
        Ok::<_, IndexError>(())
    };
    handle.write(add).await.expect("written");
    assert_eq!(count(&handle).await, 2);
    handle.prove().await.expect("intact");
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Reporter for Heard {
    fn remark(&self, text: &str) {
        self.0.lock().expect("no panic").push(text.to_owned());
    }
}

/// It ended with 0 and without a word.
#[tokio::test]
async fn an_index_that_could_not_be_sealed_is_a_warning() {
    let (scratch, _) = filled();
    let heard = Arc::new(Heard::default());
    let handle = IndexHandle::reporting(scratch.path(), Arc::clone(&heard) as Arc<dyn Reporter>);
    let write = |handle: &IndexHandle| {
        let handle = handle.clone();
        async move { handle.open_writer().await.expect("opened") }
    };
    let put_another = |index: &mut Index| {
        put(index, "b-clock-panel", &[]);
        Ok::<_, IndexError>(())
    };
    let writer = write(&handle).await;
    writer.run(put_another).await.expect("written");
    fs::create_dir(scratch.path().with_extension("seal")).expect("in its place");
    writer.close().await;
    let text = heard.0.lock().expect("no panic").join("; ");
    assert!(text.contains("it is not protected: "), "{text}");
    fs::remove_dir(scratch.path().with_extension("seal")).expect("removed");
    write(&handle).await.close().await;
    assert_eq!(heard.0.lock().expect("no panic").len(), 1);
}
