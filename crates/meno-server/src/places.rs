//! A counting semaphore for threads, with a deadline for waiting. (tokio's semaphore is for tasks.)

use crate::lock::lock;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// A limited number of places.
#[derive(Debug)]
pub struct Places {
    free: Mutex<usize>,
    returned: Condvar,
}

/// A place that is taken; dropping it returns it.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// Creates a semaphore with `free` places.
    pub fn new(free: usize) -> Arc<Places> {
        Arc::new(Places { free: Mutex::new(free), returned: Condvar::new() })
    }

    /// Takes a place. Blocks until one is free; returns `None` if none is free by `deadline`.
    pub fn take(self: &Arc<Places>, deadline: Instant) -> Option<Place> {
        let mut free = lock(&self.free);
        while *free == 0 {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            (free, _) = self.returned.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waiting_ends_at_the_deadline() {
        let places = Places::new(1);
        let place = places.take(Instant::now()).unwrap();
        assert!(places.take(Instant::now() + Duration::from_millis(5)).is_none());
        let waiting = places.clone();
        let waiter = std::thread::spawn(move || waiting.take(Instant::now() + Duration::from_secs(600)).is_some());
        drop(place);
        assert!(waiter.join().unwrap());
        assert!(places.take(Instant::now()).is_some());
    }
}
