use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which can count what the present thread asks of it.
pub struct Counting;

/// What a thread has asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Allocations, a reallocation being one too.
    pub times: u64,
    /// Bytes that were taken, less those that were given back.
    pub bytes: i64,
}

thread_local! {
    static ASKED: Cell<Option<Asked>> = const { Cell::new(None) };
}

/// Counts what a function asks for on this thread.
pub fn counted<R>(run: impl FnOnce() -> R) -> (R, Asked) {
    ASKED.set(Some(Asked::default()));
    let result = run();
    (result, ASKED.take().unwrap_or_default())
}

fn note(times: u64, taken: usize, given_back: usize) {
    if let Some(mut asked) = ASKED.get() {
        asked.times += times;
        asked.bytes += taken as i64 - given_back as i64;
        ASKED.set(Some(asked));
    }
}

// SAFETY: all is left to the system's allocator. What is noted lies in memory that needs neither
// an allocation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size, layout.size());
        unsafe { System.realloc(memory, layout, size) }
    }
}
