//! The way from asynchronous code to work that blocks: SQLite, zip archives, files.
//!
//! *Invariant:* the work runs on a thread that may block, never on one that drives futures; a panic in it reaches the
//! caller.
//! *Not for:* the network, which is asynchronous by itself.

/// Runs `work` on a thread that may block and returns its result.
///
/// When the caller is dropped first, the work still runs to its end, and its result is dropped.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nothing polls this future again.
            Err(_) => std::future::pending().await,
        },
    }
}
