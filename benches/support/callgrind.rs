//! Instructions, counted by callgrind in a process of its own.

use std::env;
use std::hint::black_box;
use std::process::{Command, Stdio, exit};

use axum::body::Body;
use http::{Request, StatusCode};

use crate::case::Case;

/// How many requests are counted.
const REQUESTS: usize = 64;
const ARGUMENT: &str = "--counted";

/// Whether there is a valgrind.
pub fn is_there() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Whether libraries take the code here that the limits were counted with.
pub fn is_comparable() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Runs the case that this process was started for, if it was started by [`instructions`].
pub fn run_if_counted() {
    let mut arguments = env::args().skip_while(|argument| argument != ARGUMENT).skip(1);
    if let Some(name) = arguments.next() {
        let mut started = Case::named(&name).unwrap().start();
        for _ in 0..REQUESTS {
            counted(&mut started.send, started.template.request());
        }
        exit(0);
    }
}

/// The instructions that one request takes, in user space.
///
/// # Panics
///
/// If valgrind can't be run.
pub fn instructions(case: Case) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*callgrind::counted*")
        .arg(env::current_exe().unwrap())
        .args([ARGUMENT, &case.name()])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case:?}: {log}");
    let collected = log.lines().find_map(|line| line.split("Collected : ").nth(1));
    let collected: f64 = collected.and_then(|count| count.trim().parse().ok()).unwrap();
    collected / REQUESTS as f64
}

/// What is counted: callgrind knows it by its name.
#[inline(never)]
fn counted(send: &mut dyn FnMut(Request<Body>) -> StatusCode, request: Request<Body>) {
    black_box(send(request));
}
