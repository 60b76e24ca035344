//! The `metricstream` program: everything is in the library, see [`metricstream::cli`].

fn main() -> std::process::ExitCode {
    metricstream::cli::main()
}
