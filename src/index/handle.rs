//! The index for asynchronous code: readers that work side by side, and one writer.
//!
//! *Invariant:* every statement runs on a thread that may block. One read sees one state of the index. Within this process
//! there is one writer at a time. A panic in a query reaches its caller, and the handle stays usable.
//! *Not for:* keeping other processes out, which the lock of the cache does.

use std::{
    any::Any,
    fmt, fs,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
};

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{Index, IndexError, SealState};
use crate::{
    blocking::run_blocking,
    diagnostic::Chain,
    disk,
    model::{DenyList, Timestamp},
    progress::{Reporter, Silent},
};

/// How many idle connections are kept for the next reads.
const IDLE_READERS: usize = 4;

/// The index of one cache. Making it opens nothing; clones share their connections.
#[derive(Clone, Debug)]
pub struct IndexHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    /// Hears that the index could not be sealed.
    reporter: Arc<dyn Reporter>,
    /// Versions that must not be used.
    denied: Arc<DenyList>,
    /// Held by the thread of the writer.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A connection for reading, and the file that it was opened on.
#[derive(Debug)]
struct Reader {
    index: Index,
    file: FileId,
}

/// Device and number of a file: an index that was restored is another file under the same name.
type FileId = Option<(u64, u64)>;

/// The outcome of a repair, see [`IndexHandle::restore`].
#[derive(Debug)]
pub struct RestoredIndex {
    /// Where the damaged file is now, if there was one.
    pub aside: Option<PathBuf>,
    /// Whether an intact copy took its place.
    pub is_restored: bool,
}

impl IndexHandle {
    /// Returns the handle of the index at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self::reporting(path, Arc::new(Silent))
    }

    /// Returns such a handle that reports when the seal or the copy of the index could not be written.
    pub fn reporting(path: PathBuf, reporter: Arc<dyn Reporter>) -> Self {
        let (idle, denied, turn) = Default::default();
        Self(Arc::new(Shared { path, idle, reporter, denied, turn }))
    }

    /// Returns another handle of the same index, with versions that must not be used: see [`Index::denied`].
    #[must_use]
    pub fn denying(&self, denied: Arc<DenyList>) -> Self {
        let Shared { path, reporter, turn, .. } = self.0.as_ref();
        let (path, reporter, turn) = (path.clone(), Arc::clone(reporter), Arc::clone(turn));
        Self(Arc::new(Shared { path, idle: Mutex::default(), reporter, denied, turn }))
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reads; without an index the error is [`IndexError::Missing`].
    pub async fn read<T, E>(&self, work: impl FnOnce(&Index) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<IndexError> + Send + 'static,
    {
        let this = self.clone();
        run_blocking(move || this.read_blocking(work)).await
    }

    /// Reads as [`IndexHandle::read`] does, on this thread: for code that already runs on a thread that may block.
    pub fn read_blocking<T, E: From<IndexError>>(&self, work: impl FnOnce(&Index) -> Result<T, E>) -> Result<T, E> {
        let reader = self.0.reader()?;
        let value = in_one_state(&reader.index, work)?;
        self.0.keep(reader);
        Ok(value)
    }

    /// Reads from an index of which every byte was compared with its checksum first: for what decides which versions are
    /// fetched, locked or installed. Takes a hundredth of a second for ten megabytes.
    pub async fn proven<T, E>(&self, work: impl FnOnce(&Index) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<IndexError> + Send + 'static,
    {
        let this = self.clone();
        run_blocking(move || {
            let file = this.0.file();
            let index = this.0.with_policy(Index::open_proven(&this.0.path)?);
            let value = in_one_state(&index, work)?;
            this.0.keep(Reader { index, file });
            Ok(value)
        })
        .await
    }

    /// Compares every byte with the checksum, for several reads of the catalog that follow, see [`IndexHandle::proven`].
    pub async fn prove(&self) -> Result<(), IndexError> {
        self.proven(Index::check_has_catalog).await
    }

    /// Returns the error of an index that is missing, cannot be opened or has never had a catalog, for those who find out
    /// before they ask anybody else.
    pub async fn check_has_catalog(&self) -> Result<(), IndexError> {
        self.read(Index::check_has_catalog).await
    }

    /// Checks the checksum and all pages, and returns what the checksum says; an index without one is no error.
    pub async fn examine(&self) -> Result<SealState, IndexError> {
        let path = self.0.path.clone();
        run_blocking(move || {
            let index = Index::open_existing(&path)?;
            let state = index.prove()?;
            index.check().map(|()| state)
        })
        .await
    }

    /// Writes to the index, which must exist, and seals it.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Index) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<IndexError> + Send + 'static,
    {
        let writer = self.open_writer().await?;
        let result = writer.run(work).await;
        writer.close().await;
        result
    }

    /// Opens the index, which must exist, for several writes; waits for the writer before.
    pub async fn open_writer(&self) -> Result<IndexWriter, IndexError> {
        self.start(|path| Index::open_existing(path).and_then(|index| Index::open(index.path()))).await
    }

    /// Opens the index for several writes, and creates it if there is none; waits for the writer before.
    pub async fn create_writer(&self) -> Result<IndexWriter, IndexError> {
        self.start(Index::open).await
    }

    async fn start(&self, open: fn(&Path) -> Result<Index, IndexError>) -> Result<IndexWriter, IndexError> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let (jobs, queue) = channel();
        let (sender, opened) = oneshot::channel();
        // Not the whole of it: its idle readers are closed by whoever drops the last handle, and not by this thread, for
        // which nobody waits at the end. A reader that is not closed leaves the write-ahead log behind.
        let Shared { path, reporter, denied, .. } = self.0.as_ref();
        let (path, reporter, denied) = (path.clone(), Arc::clone(reporter), Arc::clone(denied));
        drop(tokio::task::spawn_blocking(move || match open(&path) {
            Ok(mut index) => {
                // Without a receiver there are no jobs either.
                drop(sender.send(Ok(())));
                index.denied = denied;
                serve(index, turn, &queue, reporter.as_ref());
            }
            Err(error) => drop(sender.send(Err(error))),
        }));
        received(opened.await)?;
        Ok(IndexWriter { jobs })
    }

    /// Returns the names of the damaged files that were moved aside (`index.damaged-TIME…`), each with that time in
    /// milliseconds. Blocks.
    pub fn damaged_files(&self) -> Vec<(String, i64)> {
        let Ok(entries) = fs::read_dir(disk::folder_of(&self.0.path)) else { return Vec::new() };
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let time = name.strip_prefix("index.damaged-")?.split('-').next()?.parse().ok()?;
                Some((name, time))
            })
            .collect();
        found.sort();
        found
    }

    /// Moves a damaged index aside and puts the newest intact copy in its place. The caller holds the lock of the cache.
    pub async fn restore(&self, now: Timestamp) -> Result<RestoredIndex, IndexError> {
        let path = self.0.path.clone();
        run_blocking(move || {
            let fault = |source| IndexError::Seal { path: path.clone(), source };
            let aside = Index::set_aside(&path, now).map_err(fault)?;
            Ok(RestoredIndex { aside, is_restored: Index::restore(&path, now)?.is_some() })
        })
        .await
    }
}

impl Shared {
    fn file(&self) -> FileId {
        fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()))
    }

    /// Returns an idle connection to the file that is there now, or a new one.
    fn reader(&self) -> Result<Reader, IndexError> {
        let file = self.file();
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(reader) = idle() {
            if file.is_some() && reader.file == file {
                return Ok(reader);
            }
        }
        Ok(Reader { index: self.with_policy(Index::open_existing(&self.path)?), file })
    }

    fn with_policy(&self, mut index: Index) -> Index {
        index.denied = Arc::clone(&self.denied);
        index
    }

    /// Keeps a connection on which nothing failed.
    fn keep(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.index.is_reusable() && idle.len() < IDLE_READERS {
            idle.push(reader);
        }
    }
}

fn in_one_state<T, E: From<IndexError>>(index: &Index, work: impl FnOnce(&Index) -> Result<T, E>) -> Result<T, E> {
    let _snapshot = index.snapshot()?;
    work(index)
}

/// The index, opened for writing on a thread of its own. It is sealed and closed when the last clone is dropped, some time
/// later; [`IndexWriter::close`] waits for that.
#[derive(Clone)]
pub struct IndexWriter {
    jobs: Sender<Job>,
}

enum Job {
    Call(Box<dyn FnOnce(&mut Index) + Send>),
    Close(oneshot::Sender<()>),
}

/// How the work of a call ended.
enum Ended<T> {
    Returned(T),
    Panicked(Box<dyn Any + Send>),
}

impl fmt::Debug for IndexWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IndexWriter").finish_non_exhaustive()
    }
}

impl IndexWriter {
    /// Runs `work` after all that was asked of this writer before. It may read too, and sees what was written.
    pub async fn run<T, E>(&self, work: impl FnOnce(&mut Index) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (sender, ended) = oneshot::channel();
        let call = move |index: &mut Index| {
            // Transactions that the panic left open were rolled back when they were dropped.
            let ended = catch_unwind(AssertUnwindSafe(|| work(index)));
            drop(sender.send(ended.map_or_else(Ended::Panicked, Ended::Returned)));
        };
        // The answer shows whether anybody took the job.
        drop(self.jobs.send(Job::Call(Box::new(call))));
        match received(ended.await) {
            Ended::Returned(result) => result,
            Ended::Panicked(panic) => resume_unwind(panic),
        }
    }

    /// Seals and closes the index. A failure to seal is a warning: the next writer checks all pages first.
    pub async fn close(self) {
        let (sender, closed) = oneshot::channel();
        drop(self.jobs.send(Job::Close(sender)));
        drop(closed.await);
    }
}

fn received<T>(answer: Result<T, oneshot::error::RecvError>) -> T {
    answer.unwrap_or_else(|_| unreachable!("a writer of the index was used after it was closed"))
}

/// Carries out what is asked of a writer, until it is closed or nobody can ask any more.
fn serve(mut index: Index, turn: OwnedMutexGuard<()>, queue: &Receiver<Job>, reporter: &dyn Reporter) {
    let mut closed = None;
    while let Ok(job) = queue.recv() {
        match job {
            Job::Call(call) => call(&mut index),
            Job::Close(sender) => {
                closed = Some(sender);
                break;
            }
        }
    }
    // Sealed before the next writer begins and before the caller hears of it.
    if let Err(error) = index.seal() {
        reporter.remark(&format!(
            "what was written to the index stays, but it is not protected: {}; the next command that writes checks all of it",
            Chain(&error)
        ));
    }
    drop(index);
    drop(turn);
    if let Some(closed) = closed {
        let _ = closed.send(());
    }
}

#[cfg(test)]
mod tests;
