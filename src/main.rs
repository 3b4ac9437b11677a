//! `dripctl`.

fn main() -> std::process::ExitCode {
    drip::cli::main()
}
