use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tracer::cli::run())
}
