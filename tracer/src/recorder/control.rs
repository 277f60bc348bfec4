//! Control of a recording from outside of its thread.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Something that a caller asks of a recording under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Stop,
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
}

impl Control {
    /// Returns when the recording is to be stopped; never, if nobody can ask for it any more.
    pub(super) async fn stopped(&mut self) {
        match self.0.recv().await {
            Some(Request::Stop) => {}
            None => std::future::pending().await,
        }
    }
}
