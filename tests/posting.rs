//! Messages and closures from other threads.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use nodeloop::net::{self, Server, SocketId};
use nodeloop::{HandleKind, Loop, LoopHandle, Sender};
use support::*;

/// A channel, and how many messages have arrived.
fn counting(lp: &Loop) -> (Sender<()>, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    let sender = lp.channel(move |_, (): ()| counted.set(counted.get() + 1));
    (sender, count)
}

#[test]
fn messages_arrive_in_order_and_the_channel_ends_with_its_last_sender() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let seen = Rc::new(RefCell::new(vec![Vec::new(); 4]));
    let all = seen.clone();
    let sender =
        lp.channel(move |_, (from, number): (usize, u32)| all.borrow_mut()[from].push(number));
    let threads: Vec<_> = (0..4)
        .map(|from| {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..10_000).for_each(|number| sender.send((from, number)).unwrap())
            })
        })
        .collect();
    drop(sender);
    // Ends by itself: nothing else is alive.
    lp.run().unwrap();
    threads.into_iter().for_each(join);
    for numbers in seen.borrow().iter() {
        assert!(numbers.iter().copied().eq(0..10_000));
    }
    assert!(
        !lp.handles()
            .iter()
            .any(|handle| handle.kind == HandleKind::Channel)
    );
}

#[test]
fn y2_one_wake_for_many_messages() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (sender, count) = counting(&lp);
    let flood = |sender: Sender<()>| {
        let thread = thread::spawn(move || (0..1000).for_each(|_| sender.send(()).unwrap()));
        join(thread);
    };
    let before = lp.counts();
    flood(sender.clone());
    assert_eq!(lp.counts().wakes - before.wakes, 1);
    assert_eq!(sender.waiting(), 1000);
    lp.run_nowait().unwrap();
    assert_eq!((count.get(), sender.waiting()), (1000, 0));
    let after = lp.counts();
    assert_eq!(after.waits - before.waits, 1);
    flood(sender);
    lp.run().unwrap();
    assert_eq!((count.get(), lp.counts().wakes - before.wakes), (2000, 2));
}

#[test]
fn a_loop_that_is_awake_is_not_woken() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (sender, count) = counting(&lp);
    let before = lp.counts().wakes;
    lp.set_immediate(move |_| join(thread::spawn(move || sender.send(()).unwrap())));
    lp.run().unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(lp.counts().wakes - before, 0);
}

#[test]
fn mail_that_comes_while_a_turn_ends_makes_the_descriptor_ready() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (sender, count) = counting(&lp);
    let before = lp.counts().wakes;
    let other = sender.clone();
    lp.set_immediate(move |_| join(thread::spawn(move || other.send(()).unwrap())));
    lp.run_nowait().unwrap();
    // Who waits for it in another loop learns of the mail.
    assert_eq!((count.get(), lp.counts().wakes - before), (0, 1));
    assert_eq!(lp.poll_timeout(), Some(std::time::Duration::ZERO));
    drop(sender);
    lp.run().unwrap();
    assert_eq!(count.get(), 1);
}

#[test]
fn each_message_is_a_loop_callback_with_ticks_of_its_own() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let seen = log.clone();
    let sender = lp.channel(move |lp, name: &'static str| {
        seen.note(name);
        lp.next_tick({
            let seen = seen.clone();
            move |_| seen.note("tick")
        });
    });
    lp.set_immediate(log.noting("immediate"));
    sender.send("one").unwrap();
    sender.send("two").unwrap();
    drop(sender);
    lp.run().unwrap();
    log.expect(&["one", "tick", "two", "tick", "immediate"]);
}

#[test]
fn what_a_receiver_sends_itself_comes_in_the_next_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let turns = Rc::new(RefCell::new(Vec::new()));
    let sender: Rc<RefCell<Option<Sender<u32>>>> = Rc::default();
    let (seen, own) = (turns.clone(), sender.clone());
    let made = lp.channel(move |lp, left: u32| {
        seen.borrow_mut().push(lp.turns());
        match left {
            0 => drop(own.take()),
            left => own.borrow().as_ref().unwrap().send(left - 1).unwrap(),
        }
    });
    made.send(2).unwrap();
    sender.replace(Some(made));
    lp.run().unwrap();
    let turns = turns.borrow();
    assert_eq!(turns[2] - turns[0], 2, "{turns:?}");
}

#[test]
fn y1_a_channel_holds_the_loop_unless_it_is_unreferenced() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let sender = lp.channel(|_, (): ()| {});
    assert!(lp.is_alive());
    let why = lp.why_alive();
    assert_eq!(why.reasons[0].kind, HandleKind::Channel);
    sender.unref();
    sender.unref();
    assert!(!lp.is_alive());
    let why = lp.why_alive();
    assert!(why.is_empty());
    assert!(
        why.unreferenced
            .iter()
            .any(|it| it.kind == HandleKind::Channel)
    );
    lp.run().unwrap();
    sender.set_ref();
    assert!(lp.is_alive());
    // From another thread it takes effect with the mail.
    let thread = thread::spawn(move || {
        sender.unref();
        sender
    });
    lp.run().unwrap();
    assert!(!lp.is_alive());
    drop(join(thread));
    lp.run().unwrap();
}

#[test]
fn a_closed_channel_gives_messages_back_and_drops_those_that_wait() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let seen = log.clone();
    let closer: Rc<RefCell<Option<Sender<&'static str>>>> = Rc::default();
    let own = closer.clone();
    let sender = lp.channel(move |_, name| {
        seen.note(name);
        if let Some(sender) = own.take() {
            sender.close();
        }
    });
    closer.replace(Some(sender.clone()));
    sender.send("first").unwrap();
    sender.send("second").unwrap();
    lp.run().unwrap();
    log.expect(&["first"]);
    assert!(sender.is_closed());
    let back = sender.send("third").unwrap_err();
    assert_eq!(back.0, "third");
    assert_eq!(nodeloop::Error::from(back).code(), Some("ERR_LOOP_GONE"));
}

#[test]
fn a_loop_that_is_gone_is_an_error() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    let sender = lp.channel(|_, _: String| {});
    let remote = lp.remote();
    sender.send("lost".to_string()).unwrap();
    let dropped = on_drop({
        let log = log.clone();
        move || log.note("receiver")
    });
    let other = lp.channel(move |_, (): ()| dropped.hold());
    let handle = lp.handle();
    drop(lp);
    log.expect(&["receiver"]);
    assert_eq!(sender.send("late".to_string()).unwrap_err().0, "late");
    assert!(sender.is_closed() && other.is_closed());
    assert_eq!(code(remote.post(|_| ())), "ERR_LOOP_GONE");
    assert_eq!(code(handle.remote().post(|_| ())), "ERR_LOOP_GONE");
    assert!(handle.channel(|_, (): ()| {}).send(()).is_err());
    sender.unref();
    sender.close();
}

#[test]
fn messages_that_are_lost_are_dropped_where_nothing_is_borrowed() {
    /// Uses its loop when it is dropped.
    struct Meddler(Sender<u32>);
    impl Drop for Meddler {
        fn drop(&mut self) {
            let _ = self.0.send(1);
            self.0.unref();
        }
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let inner = lp.channel(|_, _| {});
    let sender = lp.channel(|_, _: Meddler| {});
    sender.send(Meddler(inner.clone())).unwrap();
    sender.send(Meddler(inner.clone())).unwrap();
    sender.close();
    drop(sender.send(Meddler(inner.clone())));
    assert_eq!(inner.waiting(), 3);
    let again = lp.channel(|_, _: Meddler| {});
    again.send(Meddler(inner)).unwrap();
    drop(lp);
}

#[test]
fn a_panic_and_an_unhandled_error_lose_no_message() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let seen = log.clone();
    let sender = lp.channel(move |lp, name: &'static str| {
        seen.note(name);
        match name {
            "panics" => panic!("in a receiver"),
            "fails" => {
                // Nobody listens to its 'error'.
                let socket = net::Socket::new(&lp, net::SocketOptions::new());
                socket.destroy_with("nobody listens");
            }
            _ => {}
        }
    });
    let seen = log.clone();
    let other = lp.channel(move |_, (): ()| seen.note("other"));
    for name in ["panics", "fails", "last"] {
        sender.send(name).unwrap();
    }
    other.send(()).unwrap();
    drop((sender, other));
    assert_eq!(caught(|| lp.run()), "in a receiver");
    log.expect(&["panics"]);
    assert!(lp.run().is_err());
    log.expect(&["fails"]);
    lp.run().unwrap();
    log.expect(&["last", "other"]);
}

#[test]
fn what_was_posted_is_called_in_the_loop_and_holds_it_until_then() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let remote = lp.remote();
    lp.run().unwrap();
    assert!(!lp.is_alive(), "a remote alone holds nothing");
    let (says, said) = mpsc::channel();
    let thread = thread::spawn(move || {
        for number in 0..3 {
            let says = says.clone();
            remote
                .post(move |lp| says.send((number, lp.turns())).unwrap())
                .unwrap();
        }
    });
    join(thread);
    assert!(lp.is_alive());
    assert_eq!(lp.why_alive().reasons[0].kind, HandleKind::Mail);
    lp.run().unwrap();
    let said: Vec<_> = said.iter().collect();
    assert_eq!(said, [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(lp.counts().wakes, 1);
}

#[test]
fn a_wait_without_limit_is_ended_by_another_thread() {
    let lp = Loop::new().unwrap();
    let _watched = watched(20);
    let (server, address) = listening(&lp, |_| {});
    let remote = lp.remote();
    let id = server.id();
    let thread = thread::spawn(move || {
        // It is somewhere in its wait, or on the way there.
        connect(address);
        remote.post(move |lp| lp.server(id).close_all()).unwrap();
    });
    lp.run().unwrap();
    join(thread);
}

#[test]
fn an_id_comes_back_as_the_handle_it_was_made_of() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let id = socket.id();
    let (remote, thread_id) = (lp.remote(), thread::current().id());
    let thread = thread::spawn(move || {
        assert_ne!(thread::current().id(), thread_id);
        // The same place in a loop of this thread is no such place.
        let other = Loop::new().unwrap();
        let (_server, _) = listening(&other, |_| {});
        assert!(other.socket(id).destroyed());
        remote
            .post(move |lp| lp.socket(id).end_with("found"))
            .unwrap();
    });
    join(thread);
    assert_eq!(lp.socket(id), socket);
    lp.run_nowait().unwrap();
    assert_eq!(read_to_end(&peer), b"found");
    drop(peer);
    lp.run().unwrap();
    expect_gone(lp.socket(id));
    let another = Loop::new().unwrap();
    expect_gone(another.socket(id));
    drop(lp);
    let successor = Loop::new().unwrap();
    expect_gone(successor.socket(id));
}

#[test]
fn ids_can_be_sent_and_compared() {
    fn is_name<T: Send + Sync + Copy + Eq + std::hash::Hash + 'static>() {}
    is_name::<SocketId>();
    is_name::<net::ServerId>();
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<nodeloop::Remote>();
    is_shared::<Sender<Cell<u8>>>();
    let lp = Loop::new().unwrap();
    let server = Server::new(&lp, net::ServerOptions::new());
    assert_eq!(server.id(), lp.server(server.id()).id());
}

#[test]
fn embedding_sees_mail_as_something_to_do() {
    let lp = Loop::new().unwrap();
    let sender = lp.channel(|_, (): ()| {});
    assert_eq!(lp.poll_timeout(), None);
    sender.send(()).unwrap();
    assert_eq!(lp.poll_timeout(), Some(std::time::Duration::ZERO));
    drop(sender);
    lp.run().unwrap();
}

#[test]
fn a_channel_that_a_callback_closes_takes_nothing_more_from_then_on() {
    // It took messages until the callback was over, and dropped them.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let sender = lp.channel(|_, (): ()| {});
    let seen = Rc::new(Cell::new(None));
    let (closed, closer) = (seen.clone(), sender.clone());
    lp.set_immediate(move |_| {
        closer.close();
        closed.set(Some((closer.is_closed(), closer.send(()).is_err())));
    });
    lp.run().unwrap();
    assert_eq!(seen.get(), Some((true, true)));
    // By its own receiver.
    let own: Rc<RefCell<Option<Sender<()>>>> = Rc::default();
    let (closed, closer) = (seen.clone(), own.clone());
    let sender = lp.channel(move |_, (): ()| {
        let sender = closer.take().expect("it is called once");
        sender.close();
        closed.set(Some((sender.is_closed(), sender.send(()).is_ok())));
    });
    own.replace(Some(sender.clone()));
    sender.send(()).unwrap();
    lp.run().unwrap();
    assert_eq!(seen.get(), Some((true, false)));
}

#[test]
fn ticks_of_what_a_channel_held_run_before_the_next_mail() {
    // They ran behind it.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (handle, seen) = (lp.handle(), log.clone());
    let held = on_drop(move || handle.next_tick(seen.noting("tick")));
    let sender = lp.channel(move |_, (): ()| held.hold());
    drop(sender);
    let seen = log.clone();
    let next = lp.channel(move |_, (): ()| seen.note("message"));
    next.send(()).unwrap();
    drop(next);
    lp.run().unwrap();
    log.expect(&["tick", "message"]);
}

#[test]
fn y1_messages_of_an_unreferenced_channel_do_not_hold_the_loop() {
    // They did: who sent faster than the loop received kept it alive for ever.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (sender, count) = counting(&lp);
    sender.unref();
    sender.send(()).unwrap();
    assert!(!lp.is_alive());
    assert!(lp.why_alive().is_empty());
    lp.run().unwrap();
    assert_eq!((count.get(), sender.waiting()), (0, 1));
    // They come as long as something else holds it: here one turn does.
    lp.set_immediate(|_| {});
    lp.run().unwrap();
    assert_eq!((count.get(), sender.waiting()), (1, 0));
    // It is not alive behind this turn, although more waits.
    let other = sender.clone();
    lp.set_immediate(move |_| join(thread::spawn(move || other.send(()).unwrap())));
    lp.run().unwrap();
    assert_eq!((count.get(), sender.waiting()), (1, 1));
    sender.set_ref();
    drop(sender);
    lp.run().unwrap();
    assert_eq!(count.get(), 2);
}

/// What came while a turn was cut short was delivered in the rest of it: so who posts again and fails each time
/// kept the loop from everything behind the poll.
#[test]
fn what_is_posted_before_run_ends_with_an_error_waits_for_the_next_turn() {
    fn fails(lp: LoopHandle, turns: Rc<RefCell<Vec<u64>>>) {
        turns.borrow_mut().push(lp.turns());
        let sender = lp.channel(move |lp, ()| fails(lp, turns.clone()));
        sender.send(()).unwrap();
        lp.fail("again");
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let turns: Rc<RefCell<Vec<u64>>> = Rc::default();
    let checked = Rc::new(Cell::new(0));
    let check = checked.clone();
    lp.check(move |_| check.set(check.get() + 1));
    let sender = {
        let turns = turns.clone();
        lp.channel(move |lp, ()| fails(lp, turns.clone()))
    };
    sender.send(()).unwrap();
    while turns.borrow().len() < 10 {
        lp.run().unwrap_err();
    }
    assert_eq!(*turns.borrow(), (1..=10).collect::<Vec<_>>());
    assert_eq!(checked.get(), 9);
}

#[test]
fn a_name_of_another_thread_s_object_names_nothing_here() {
    // Each is the first of its thread, so all else is alike.
    let make = || {
        let lp = Loop::new().unwrap();
        let server = Server::new(&lp, net::ServerOptions::new());
        (lp, server)
    };
    let (lp, own) = make();
    let theirs = join(thread::spawn(move || make().1.id()));
    assert_ne!(lp.server(theirs), own);
}

#[test]
fn what_is_said_of_a_channel_concerns_no_other_of_the_thread_where_it_is_said() {
    // Each is the first of its thread, so all else is alike.
    let make = || {
        let lp = Loop::new().unwrap();
        let sender = lp.channel(|_, (): ()| {});
        (lp, sender)
    };
    let (lp, sender) = make();
    let closer = sender.clone();
    join(thread::spawn(move || {
        let (_lp, own) = make();
        closer.close();
        assert!(!own.is_closed());
    }));
    lp.run_nowait().unwrap();
    assert!(sender.is_closed());
}

#[test]
fn mail_that_waits_behind_an_error_holds_the_loop() {
    let lp = Loop::new().unwrap();
    let remote = lp.remote();
    remote.post(|lp| lp.fail("error")).unwrap();
    remote.post(|_| {}).unwrap();
    assert!(lp.run().is_err());
    assert!(lp.is_alive());
    lp.run().unwrap();
    assert!(!lp.is_alive());
}
