//! The recorder as a library: a recording without the command line. Needs root.

mod common;

use std::process::Command;
use std::thread;

use common::fixture::c_program;
use common::process::Process;
use common::report::Totals;
use tracer::attribute::Source;
use tracer::recorder::{self, EndReason, Notice, Options, Recorder, Subject};
use tracer::recording::{self, Total};

#[test]
fn a_program_is_recorded_without_the_command_line() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, mut stdout, _stderr) = Process::start(&mut Command::new(c_program("calloc")));
    stdout.until("started");
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::new(Subject::Process(target.pid()), folder.path().join("calloc.trec"));

    let (controller, mut control) = recorder::control();
    let (notices, told) = std::sync::mpsc::channel();
    let notify = Box::new(move |notice| notices.send(notice).expect("tell a notice"));
    let recorder = Recorder::start(&options, notify).expect("start");
    target.tell("go");
    let told_truth = thread::spawn(move || {
        let line = stdout.next();
        controller.stop();
        line
    });
    let finished = recorder.run(&mut control).expect("record");
    let truth = told_truth.join().expect("the truth");
    let truth = Totals::of_truth(&serde_json::from_str(&truth).expect("a program's truth is JSON"));
    assert_eq!((finished.lost_count, finished.reason), (0, EndReason::Interrupted));
    let recording = recording::read(&finished.file).expect("read the recording");
    assert_eq!(finished.wait().expect("detach"), None, "the program is not the recorder's own");

    let of_allocator = recording.totals.iter().filter(|total| total.source == Source::Allocator);
    let allocated = of_allocator.fold((0, 0), |sum, Total { totals, .. }| {
        (sum.0 + totals.allocated_bytes, sum.1 + totals.allocated_count)
    });
    assert_eq!(allocated, (truth.allocated_bytes, truth.allocated_count));
    let is_step = |notice: &Notice| !matches!(notice, Notice::Progress(_));
    let told: Vec<Notice> = told.iter().filter(is_step).collect();
    assert!(
        matches!(
            &told[..],
            [
                Notice::Attaching { .. },
                Notice::Ready { probe_count: 1.., .. },
                Notice::Ending(EndReason::Interrupted),
            ]
        ),
        "{told:?}"
    );
}
