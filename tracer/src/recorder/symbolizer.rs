//! Names for stacks, in a thread of their own: reading symbols of a large library must not keep the
//! ring buffer waiting, and the symbolizer cannot leave the thread in which it was made.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::JoinHandle,
};

use tracer_common::stack::StackId;

use crate::{
    hotspot::Hotspot,
    ingest::event::{Nmethod, Stack},
    process::{
        Module, Pid, background,
        privilege::{self, READING},
        read_budget::ReadBudget,
    },
    symbolize::{Frame, Symbolizer},
};

/// A request to the thread, or news for it.
enum Request {
    /// Name this stack.
    Stack(Stack),
    /// Modules that are mapped now.
    Modules(Vec<Module>),
    /// The target's JVM, and the budget of what is read of it.
    Jvm(Box<Hotspot>, ReadBudget),
    /// The JVM installed this code.
    Nmethod(Nmethod),
}

/// A stack with names.
#[derive(Debug)]
pub(super) struct SymbolizedStack {
    pub(super) id: StackId,
    pub(super) frames: Vec<Frame>,
    /// A number of [`tracer_common::unwind::Stop`].
    pub(super) stop: u32,
}

/// The thread that names stacks. Requests are served in their order.
pub(super) struct SymbolizerThread {
    requests: Sender<Request>,
    named: Receiver<SymbolizedStack>,
    thread: JoinHandle<()>,
}

impl SymbolizerThread {
    /// Starts the thread for process `pid` with these modules. Their files are open when this returns:
    /// a target that ends at once has names all the same.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(pid: Pid, modules: Vec<Module>) -> std::io::Result<Self> {
        let (requests, inbox) = channel();
        let (outbox, named) = channel();
        let (opened, is_open) = channel();
        let work = move || serve(pid, modules, &opened, &inbox, &outbox);
        let thread = privilege::start_thread("symbolize", &READING, work)?;
        let _ = is_open.recv();
        Ok(Self { requests, named, thread })
    }

    /// Asks for the names of `stack`.
    pub(super) fn symbolize(&self, stack: Stack) {
        self.tell(Request::Stack(stack));
    }

    /// Tells which modules are mapped now.
    pub(super) fn set_modules(&self, modules: Vec<Module>) {
        self.tell(Request::Modules(modules));
    }

    /// Tells of the target's JVM, and of the budget for what is read of it: one for each request.
    pub(super) fn set_jvm(&self, jvm: Hotspot, budget: ReadBudget) {
        self.tell(Request::Jvm(Box::new(jvm), budget));
    }

    /// Tells of code that the JVM installed.
    pub(super) fn nmethod_loaded(&self, nmethod: Nmethod) {
        self.tell(Request::Nmethod(nmethod));
    }

    /// A stack that has its names by now.
    pub(super) fn try_next(&self) -> Option<SymbolizedStack> {
        self.named.try_recv().ok()
    }

    /// Waits for all that was asked for, and ends the thread.
    pub(super) fn finish(self) -> Vec<SymbolizedStack> {
        drop(self.requests);
        let rest = self.named.iter().collect();
        let _ = self.thread.join();
        rest
    }

    /// The thread ends only when this is dropped: then nobody waits for the answer.
    fn tell(&self, request: Request) {
        let _ = self.requests.send(request);
    }
}

fn serve(
    pid: Pid,
    modules: Vec<Module>,
    opened: &Sender<()>,
    inbox: &Receiver<Request>,
    outbox: &Sender<SymbolizedStack>,
) {
    background::wait_turns();
    let mut symbolizer = Symbolizer::new(pid);
    symbolizer.set_modules(modules);
    let _ = opened.send(());
    let mut waiting = VecDeque::new();
    let mut is_ending = false;
    let mut budget = ReadBudget::default();
    loop {
        budget.renew(0);
        // Code that was installed is copied at once, before older stacks are named: it can be gone soon.
        // And a JVM that is understood by now helps with those too.
        loop {
            match inbox.try_recv() {
                Ok(Request::Nmethod(nmethod)) => symbolizer.nmethod_loaded(nmethod),
                Ok(Request::Jvm(jvm, of_jvm)) => {
                    symbolizer.set_jvm(*jvm);
                    budget = of_jvm;
                    budget.renew(0);
                }
                Ok(request) => waiting.push_back(request),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    is_ending = true;
                    break;
                }
            }
        }
        let more = symbolizer.prepare();
        let request = match waiting.pop_front() {
            Some(request) => request,
            None if is_ending => return,
            None if more => continue,
            None => match inbox.recv() {
                Ok(request) => request,
                Err(_) => return,
            },
        };
        match request {
            Request::Stack(stack) => {
                let frames = symbolizer.stack(&stack.frames);
                let named = SymbolizedStack { id: stack.id, frames, stop: stack.stop };
                if outbox.send(named).is_err() {
                    return;
                }
            }
            Request::Modules(modules) => symbolizer.set_modules(modules),
            Request::Jvm(jvm, of_jvm) => {
                symbolizer.set_jvm(*jvm);
                budget = of_jvm;
            }
            Request::Nmethod(nmethod) => symbolizer.nmethod_loaded(nmethod),
        }
    }
}
