//! Control of a recording from outside of its thread.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Request of a caller to a recording under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// End it in order.
    Stop,
    /// Write what is known by now, and say so.
    Write,
}

/// The caller's end; may be used from any thread.
#[derive(Clone, Debug)]
pub struct Controller(UnboundedSender<Request>);

/// The recorder's end.
#[derive(Debug)]
pub struct Control(UnboundedReceiver<Request>);

/// Makes both ends. Requests made before the recorder runs wait for it.
pub fn control() -> (Controller, Control) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Controller(sender), Control(receiver))
}

impl Controller {
    /// Ends the recording in order. Has no effect once it has ended.
    pub fn stop(&self) {
        let _ = self.0.send(Request::Stop);
    }

    /// Asks for everything that is known by now written to be written to the file, which
    /// [`Notice::Written`](super::Notice::Written) then says.
    pub fn write(&self) {
        let _ = self.0.send(Request::Write);
    }
}

impl Control {
    /// The next request; never returns, if nobody can ask for anything any more.
    pub(super) async fn next(&mut self) -> Request {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}
