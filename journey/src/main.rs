//! The program: `metricstream-journey list`, `serve`, `run`, `profile`, `parser-cost`.

fn main() -> std::process::ExitCode {
    metricstream_journey::cli::main()
}
