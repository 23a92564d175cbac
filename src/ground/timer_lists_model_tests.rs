//! The timer lists against a plain model of Node's.

use std::collections::BTreeMap;

use super::tests::Timers;

/// Node's lists as one would write them down: all of them are searched.
#[derive(Default)]
struct Model {
    lists: Vec<ModelList>,
    /// When it was started, how long it is and whether it is referenced, of each timer that is alive.
    timers: BTreeMap<u32, (u64, u64, bool)>,
    next_id: u64,
}

#[derive(Clone)]
struct ModelList {
    duration_ms: u64,
    expiry_ms: u64,
    id: u64,
    keys: Vec<u32>,
}

impl Model {
    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn insert(&mut self, key: u32, now_ms: u64, duration_ms: u64, referenced: bool) {
        self.timers.insert(key, (now_ms, duration_ms, referenced));
        for list in &mut self.lists {
            list.keys.retain(|other| *other != key);
        }
        let mut lists = self.lists.iter_mut();
        match lists.find(|list| list.duration_ms == duration_ms) {
            Some(list) => list.keys.push(key),
            None => {
                let id = self.take_id();
                self.lists.push(ModelList {
                    duration_ms,
                    expiry_ms: now_ms + duration_ms,
                    id,
                    keys: vec![key],
                });
            }
        }
    }

    fn clear(&mut self, key: u32) {
        let (_, duration_ms, referenced) = self.timers.remove(&key).expect("it is alive");
        for list in &mut self.lists {
            list.keys.retain(|other| *other != key);
        }
        if referenced {
            let is_over =
                |list: &ModelList| list.duration_ms == duration_ms && list.keys.is_empty();
            self.lists.retain(|list| !is_over(list));
        }
    }

    /// The list that is looked at next.
    fn first(&mut self) -> Option<&mut ModelList> {
        let lists = self.lists.iter_mut();
        lists.min_by_key(|list| (list.expiry_ms, list.id))
    }

    fn pop(&mut self, now_ms: u64) -> Option<u32> {
        loop {
            let list = self.first()?.clone();
            if list.expiry_ms > now_ms {
                return None;
            }
            if !self.look(&list, now_ms) {
                continue;
            }
            let first = self.first().expect("it is there");
            return Some(first.keys.remove(0));
        }
    }

    /// Whether the first timer of this list is due; otherwise the list ends or is put off.
    fn look(&mut self, list: &ModelList, now_ms: u64) -> bool {
        let Some(key) = list.keys.first() else {
            self.lists.retain(|other| other.id != list.id);
            return false;
        };
        let (start_ms, duration_ms, _) = self.timers[key];
        if start_ms + duration_ms <= now_ms {
            return true;
        }
        let id = self.take_id();
        let first = self.first().expect("it is there");
        first.id = id;
        first.expiry_ms = (start_ms + duration_ms).max(now_ms + 1);
        false
    }
}

/// The lists and the model, and what both are told.
struct Compared {
    timers: Timers,
    model: Model,
    random: fastrand::Rng,
}

impl Compared {
    fn next(&mut self, below: u64) -> u64 {
        self.random.u64(..below)
    }

    /// Starts, clears, or starts anew.
    fn act(&mut self, now_ms: u64, durations: u64) {
        let alive: Vec<u32> = self.model.timers.keys().copied().collect();
        let count = alive.len().max(1) as u64;
        let one = alive.get(self.next(count) as usize).copied();
        match (self.next(8), one) {
            (0..4, _) | (_, None) => {
                let duration_ms = 1 + self.next(durations);
                let key = self.timers.start(now_ms, duration_ms, "x");
                let referenced = self.next(4) > 0;
                self.timers.lists.set_referenced(key, referenced);
                self.model.insert(key, now_ms, duration_ms, referenced);
            }
            (4..7, Some(key)) => self.clear(key),
            (_, Some(key)) => {
                self.timers.lists.refresh(key, now_ms);
                let (_, duration_ms, referenced) = self.model.timers[&key];
                self.model.insert(key, now_ms, duration_ms, referenced);
            }
        }
    }

    fn clear(&mut self, key: u32) {
        let lists = &mut self.timers.lists;
        let serial = lists.serial(key);
        assert!(lists.clear_and_remove(key, serial + 1).is_none());
        assert!(lists.clear_and_remove(key, serial).is_some());
        self.model.clear(key);
    }

    /// Clears about nine of ten.
    fn clear_most(&mut self) {
        let alive: Vec<u32> = self.model.timers.keys().copied().collect();
        for key in alive {
            if self.next(10) > 0 {
                self.clear(key);
            }
        }
    }

    /// A timer's callback, and what follows it.
    fn call(&mut self, key: u32, now_ms: u64, durations: u64) {
        let running = self
            .model
            .lists
            .iter()
            .min_by_key(|list| (list.expiry_ms, list.id));
        let id = running.expect("it is there").id;
        let (_, duration_ms, referenced) = self.model.timers[&key];
        match self.next(4) {
            0 => {
                self.timers.clear(key);
                self.model.clear(key);
            }
            1 => {
                self.timers.lists.refresh(key, now_ms);
                self.model.insert(key, now_ms, duration_ms, referenced);
            }
            _ => {}
        }
        // It is as good as gone, so that nobody else touches it.
        let timer = self.model.timers.remove(&key);
        for _ in 0..self.next(3) {
            self.act(now_ms, durations);
        }
        let is_over = self.timers.lists.after_callback(key, now_ms);
        let waits = self.model.lists.iter().any(|list| list.keys.contains(&key));
        assert_eq!(is_over, !waits);
        match waits {
            true => drop(
                self.model
                    .timers
                    .insert(key, timer.expect("it was refreshed")),
            ),
            false => drop(self.timers.lists.remove(key)),
        }
        let list = self.model.first().filter(|list| list.id == id);
        if let Some(list) = list.cloned() {
            self.model.look(&list, now_ms);
        }
    }
}

/// Against the model, exactly: what fires, in which order, and when the next list is looked at. With few
/// durations lists come back while they are gone; with many they are taken out together.
#[test]
fn the_order_is_that_of_a_plain_model() {
    for durations in [3, 40, 1500] {
        let mut compared = Compared {
            timers: Timers::new(),
            model: Model::default(),
            random: fastrand::Rng::with_seed(durations),
        };
        let mut now_ms = 0;
        for _ in 0..4000 {
            for _ in 0..compared.next(12) {
                compared.act(now_ms, durations);
            }
            if compared.next(500) == 0 {
                compared.clear_most();
            }
            now_ms += compared.next(3);
            loop {
                let key = compared.timers.lists.pop_due_before(u64::MAX, now_ms);
                assert_eq!(key, compared.model.pop(now_ms), "at {now_ms}");
                let Some(key) = key else { break };
                compared.call(key, now_ms, durations);
            }
            let expected = compared.model.first().map(|list| list.expiry_ms);
            assert_eq!(compared.timers.lists.next_expiry_ms(), expected);
            assert_eq!(compared.timers.lists.is_idle(), expected.is_none());
            let mut timers = compared.model.timers.values();
            let referenced = timers.by_ref().filter(|timer| timer.2).count();
            assert_eq!(compared.timers.lists.referenced(), referenced);
        }
    }
}
