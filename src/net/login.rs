//! Whether a site accepts the password that is sent with every request.
//!
//! *Invariant:* until the first answer came only one request is under way, and a 401 as the first answer ends all requests:
//! Grafana locks an account after five wrong passwords within five minutes, also for its owner. A password that was
//! accepted may be refused by a single route; only several refusals in a row end the requests then.
//! *Not for:* tokens, which lock nobody out and which older servers refuse for single questions.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use tokio::sync::Mutex;

/// So many refusals in a row end the requests with a password that was accepted before.
const MAX_REFUSALS: u32 = 3;

/// What the answers so far showed.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// Whether the first request is over, and was not refused.
    is_open: AtomicBool,
    is_refused: AtomicBool,
    /// Refusals in a row.
    refusals: AtomicU32,
    /// Held while the first request is under way.
    first: Mutex<()>,
}

impl Login {
    /// Sends a request unless the password was refused before: then `None`. `status` reads the HTTP status of an answer.
    pub(super) async fn send<T>(
        &self,
        request: impl Future<Output = T>,
        status: impl Fn(&T) -> Option<u16>,
    ) -> Option<T> {
        let first = if self.is_open.load(Ordering::Acquire) { None } else { Some(self.first.lock().await) };
        if self.is_refused.load(Ordering::Acquire) {
            return None;
        }
        // What waited for the first answer need not make the others wait.
        let first = first.filter(|_| !self.is_open.load(Ordering::Acquire));
        let answer = request.await;
        self.note(status(&answer), first.is_some());
        drop(first);
        Some(answer)
    }

    fn note(&self, status: Option<u16>, is_first: bool) {
        if status != Some(401) {
            // A server that gives no answer must not make all other requests wait for one another.
            self.is_open.store(true, Ordering::Release);
            if status.is_some() {
                self.refusals.store(0, Ordering::Release);
            }
            return;
        }
        let refusals = self.refusals.fetch_add(1, Ordering::AcqRel) + 1;
        if is_first || refusals >= MAX_REFUSALS {
            self.is_refused.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    async fn ask(login: &Login, sent: &AtomicUsize, status: u16) -> Option<u16> {
        let request = async {
            sent.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            status
        };
        login.send(request, |status| Some(*status)).await
    }

    #[tokio::test]
    async fn the_first_401_ends_all_requests_also_of_those_that_wait() {
        let (login, sent) = (Login::default(), AtomicUsize::new(0));
        let answers = join_all((0..10).map(|_| ask(&login, &sent, 401))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_some()).count(), 1);
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn after_an_accepted_password_requests_run_side_by_side_until_one_is_refused() {
        let (login, sent) = (Login::default(), AtomicUsize::new(0));
        assert_eq!(ask(&login, &sent, 404).await, Some(404));
        assert!(join_all((0..10).map(|_| ask(&login, &sent, 200))).await.iter().all(Option::is_some));
        // One route may refuse a password that all others accept.
        assert_eq!(ask(&login, &sent, 401).await, Some(401));
        assert_eq!(ask(&login, &sent, 200).await, Some(200));
        for _ in 0..3 {
            assert_eq!(ask(&login, &sent, 401).await, Some(401));
        }
        assert_eq!(ask(&login, &sent, 200).await, None);
        assert_eq!(sent.load(Ordering::SeqCst), 16);
    }

    #[tokio::test]
    async fn no_answer_is_no_refusal() {
        let login = Login::default();
        assert_eq!(login.send(async { 1 }, |_| None).await, Some(1));
        assert_eq!(login.send(async { 2 }, |_| Some(200)).await, Some(2));
    }
}
