//! How much memory is resident, measured in a process of its own.

use std::env;
use std::process::{Command, Stdio, exit};

use crate::opaque::{Flooded, flood};

const ARGUMENT: &str = "--flooded";

/// Floods this process, if it was started by [`measured`].
pub fn run_if_measured() {
    let mut arguments = env::args().skip_while(|argument| argument != ARGUMENT).skip(1);
    if let Some(garbage) = arguments.next() {
        if let Some(Flooded { bytes, asked_again }) = flood(garbage.parse().unwrap()) {
            println!("{bytes} {asked_again}");
        }
        exit(0);
    }
}

/// Returns what so many made-up tokens do; `None` where the system doesn't say how much memory is
/// resident.
///
/// # Panics
///
/// If good tokens are refused.
pub fn measured(garbage: usize) -> Option<Flooded> {
    let output = Command::new(env::current_exe().unwrap())
        .args([ARGUMENT, &garbage.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "good tokens, or garbage, weren't what they should be");
    let text = String::from_utf8(output.stdout).unwrap();
    let (bytes, asked_again) = text.trim().split_once(' ')?;
    Some(Flooded { bytes: bytes.parse().ok()?, asked_again: asked_again.parse().ok()? })
}
