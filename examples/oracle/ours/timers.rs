//! Timers, immediates, ticks.

use std::rc::Rc;

use nodeloop::{Delay, Immediate, Timer};

use super::{Handle, Object, World, fail};
use crate::oracle::scenario::Action;

impl World {
    pub(super) fn start_timer(self: &Rc<World>, action: &Action, name: &str, delay: &str) {
        let delay = Delay::from(delay.parse::<f64>().unwrap_or(f64::NAN));
        let world = self.clone();
        let own_name = name.to_string();
        // The object is looked up by name: it is made with the handle that this call returns.
        let fire = move |timer: Timer| {
            let object = Object::new(&own_name, Handle::Timer(timer));
            world.plain(&object, "fire", None, None);
        };
        let timer = match action.verb.as_str() {
            "interval" => self.lp.set_interval(delay, fire),
            _ => self.lp.set_timeout(delay, fire),
        };
        if action.options.contains_key("unref") {
            timer.unref();
        }
        self.add(&Object::new(name, Handle::Timer(timer)));
    }

    pub(super) fn start_immediate(self: &Rc<World>, action: &Action, name: &str) {
        let world = self.clone();
        let own_name = name.to_string();
        let immediate = self.lp.set_immediate(move |immediate| {
            let object = Object::new(&own_name, Handle::Immediate(immediate));
            world.plain(&object, "fire", None, None);
        });
        if action.options.contains_key("unref") {
            immediate.unref();
        }
        self.add(&Object::new(name, Handle::Immediate(immediate)));
    }

    pub(super) fn start_tick(self: &Rc<World>, name: &str) {
        let object = Object::new(name, Handle::None);
        self.add(&object);
        let world = self.clone();
        self.lp
            .next_tick(move |_| world.plain(&object, "fire", None, None));
    }
}

pub(super) fn timer_verb(action: &Action, timer: Timer) {
    match action.verb.as_str() {
        "clear" => timer.clear(),
        "refresh" => timer.refresh(),
        "ref" => timer.set_ref(),
        "unref" => timer.unref(),
        "keep" => timer.keep(),
        "release" => timer.release(),
        _ => fail(action, "this interpreter does not know the verb"),
    }
}

pub(super) fn immediate_verb(action: &Action, immediate: Immediate) {
    match action.verb.as_str() {
        "clear" => immediate.clear(),
        "ref" => immediate.set_ref(),
        "unref" => immediate.unref(),
        _ => fail(action, "this interpreter does not know the verb"),
    }
}
