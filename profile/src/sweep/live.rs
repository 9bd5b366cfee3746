//! Which engines are alive, within the caps of the rules.
//!
//! The least recently used engine is closed first. Blocks visit their points in an order that the next
//! block reverses, so that the engines alive at a block's end are the ones the next block begins with.

/// The engines alive at one moment, by the points' index in the plan.
#[derive(Debug, Clone)]
pub(super) struct LiveEngines {
    most: usize,
    most_bytes: Option<u64>,
    /// Least recently used first: index and bytes.
    live: Vec<(usize, u64)>,
    pinned: Option<usize>,
}

impl LiveEngines {
    pub(super) fn new(most: usize, most_bytes: Option<u64>) -> Self {
        Self { most: most.max(1), most_bytes, live: Vec::new(), pinned: None }
    }

    pub(super) fn capacity(&self) -> usize {
        self.most
    }

    pub(super) fn holds(&self, index: usize) -> bool {
        self.live.iter().any(|&(live, _)| live == index)
    }

    /// Keeps one engine alive as long as another one can be closed instead.
    pub(super) fn pin(&mut self, index: Option<usize>) {
        self.pinned = index;
    }

    /// Closes the engines that `finished` names.
    pub(super) fn close_finished(&mut self, finished: impl Fn(usize) -> bool) -> Vec<usize> {
        let (closed, kept) = self.live.iter().partition(|&&(index, _)| finished(index));
        self.live = kept;
        closed.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    }

    /// Makes room for an engine that needs `bytes` and counts it as alive and just used; returns what must
    /// be closed for it. An engine that alone is above the memory cap still gets to live, alone.
    pub(super) fn acquire(&mut self, index: usize, bytes: u64) -> Vec<usize> {
        if let Some(at) = self.live.iter().position(|&(live, _)| live == index) {
            let (_, known) = self.live.remove(at);
            self.live.push((index, known.max(bytes)));
            return Vec::new();
        }
        let mut closed = Vec::new();
        while self.is_too_full_for(bytes) {
            let at = self.live.iter().position(|&(live, _)| Some(live) != self.pinned).unwrap_or(0);
            closed.push(self.live.remove(at).0);
        }
        self.live.push((index, bytes));
        closed
    }

    fn is_too_full_for(&self, bytes: u64) -> bool {
        if self.live.is_empty() {
            return false;
        }
        let held: u64 = self.live.iter().map(|&(_, bytes)| bytes).sum();
        self.live.len() >= self.most || self.most_bytes.is_some_and(|most| held.saturating_add(bytes) > most)
    }

    /// Notes what an engine turned out to need.
    pub(super) fn set_bytes(&mut self, index: usize, bytes: u64) {
        for live in self.live.iter_mut().filter(|live| live.0 == index) {
            live.1 = bytes;
        }
    }

    /// All engines are gone.
    pub(super) fn clear(&mut self) {
        self.live.clear();
    }

    /// An engine died of itself.
    pub(super) fn lost(&mut self, index: usize) {
        self.live.retain(|&(live, _)| live != index);
    }
}

#[cfg(test)]
mod tests {
    use super::LiveEngines;

    #[test]
    fn the_least_recently_used_engine_is_closed_but_not_the_pinned_one() {
        let mut engines = LiveEngines::new(2, None);
        assert!(engines.acquire(0, 1).is_empty());
        assert!(engines.acquire(1, 1).is_empty());
        engines.pin(Some(0));
        assert_eq!(engines.acquire(2, 1), vec![1]);
        engines.pin(None);
        assert_eq!(engines.acquire(3, 1), vec![0]);
    }

    #[test]
    fn a_reversed_order_begins_with_the_engines_that_are_alive() {
        let mut engines = LiveEngines::new(2, None);
        let forward = [0, 1, 2, 3];
        for index in forward {
            engines.acquire(index, 1);
        }
        let builds = forward.iter().rev().filter(|&&index| {
            let alive = engines.holds(index);
            engines.acquire(index, 1);
            !alive
        });
        assert_eq!(builds.count(), 2);
    }

    #[test]
    fn memory_bounds_the_engines_but_one_may_always_live() {
        let mut engines = LiveEngines::new(8, Some(100));
        assert!(engines.acquire(0, 60).is_empty());
        assert_eq!(engines.acquire(1, 60), vec![0]);
        assert_eq!(engines.acquire(2, 500), vec![1]);
        engines.set_bytes(2, 10);
        assert!(engines.acquire(3, 60).is_empty());
    }
}
