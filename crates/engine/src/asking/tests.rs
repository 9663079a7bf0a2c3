//! Questions and answers without sockets.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::Value;

use super::*;
use crate::config::tests::config;

fn asking() -> (Arc<Asking>, Arc<AtomicUsize>) {
    let asking = Arc::new(Asking::new(&config()));
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    asking.on_questions(Some(Arc::new(move || {
        count.fetch_add(1, SeqCst);
    })));
    (asking, woken)
}

fn take(asking: &Asking) -> Option<(Vec<u64>, Vec<u64>)> {
    let taken: Value = serde_json::from_str(&asking.take()?).unwrap();
    let asked = taken["asked"].as_array().unwrap().iter().map(|asked| asked["id"].as_u64().unwrap());
    let gone = taken["gone"].as_array().unwrap().iter().map(|number| number.as_u64().unwrap());
    Some((asked.collect(), gone.collect()))
}

#[test]
fn one_wake_serves_many_and_the_next_comes_after_an_empty_look() {
    let (asking, woken) = asking();
    let questions: Vec<Question> = (0..300).map(|_| asking.ask("\"x\":1")).collect();
    assert_eq!(woken.load(SeqCst), 1);
    assert_eq!(take(&asking), Some(((1..=256).collect(), vec![])));
    assert_eq!(take(&asking), Some(((257..=300).collect(), vec![])));
    assert_eq!((take(&asking), woken.load(SeqCst)), (None, 1));
    drop(questions);
    assert_eq!(woken.load(SeqCst), 2);
    let (asked, mut gone) = take(&asking).unwrap();
    gone.sort_unstable();
    assert_eq!((asked, gone), (vec![], (1..=300).collect()));
}

#[test]
fn whoever_is_gone_before_the_host_looks_is_not_asked_about() {
    let (asking, _) = asking();
    for _ in 0..100_000 {
        drop(asking.ask("\"x\":1"));
    }
    let state = asking.state.lock();
    assert!(state.waiting.is_empty() && state.open.is_empty() && state.gone.is_empty());
    drop(state);
    assert_eq!(take(&asking), None);
}

#[tokio::test]
async fn each_hears_its_own_answer_once() {
    let (asking, _) = asking();
    let mut questions: Vec<Question> = (0..4).map(|_| asking.ask("\"x\":1")).collect();
    take(&asking);
    let answers = r#"[{"id":3,"user":"c"},{"id":1,"failed":true},{"id":2,"status":7},{"id":99}]"#;
    let faults = asking.answer(answers).unwrap();
    assert_eq!(faults.iter().map(|fault| (fault.number, &*fault.path)).collect::<Vec<_>>(), [(2, "status")]);
    assert!(matches!(questions[0].answered().await, Ruling::Failed));
    assert!(matches!(questions[1].answered().await, Ruling::Failed));
    assert!(matches!(questions[2].answered().await, Ruling::Admit(terms) if terms.user.as_deref() == Some("c")));
    asking.close();
    assert!(matches!(questions[3].answered().await, Ruling::Closed));
    assert!(matches!(asking.ask("\"x\":1").answered().await, Ruling::Closed), "and nobody is asked after that");
    drop(questions);
    assert_eq!(take(&asking), Some((vec![], vec![4])), "the others were answered");
    assert!(asking.answer(r#"[{"id":3}]"#).unwrap().is_empty(), "too late, and harmless");
}

#[test]
fn places_are_as_many_as_there_may_be_and_come_back() {
    let (asking, _) = asking();
    let places: Vec<Seat> = std::iter::from_fn(|| asking.park(None)).take(1000).collect();
    assert_eq!((places.len(), asking.parked()), (config().max_waiting, config().max_waiting));
    drop(places);
    assert_eq!(asking.parked(), 0);
}

#[test]
fn whoever_asks_about_a_connection_is_told_once_and_the_host_hears_of_those_it_is_late_with() {
    let questions = crate::config::Questions { timeout: std::time::Duration::ZERO, max_waiting: 4 };
    let asking = Arc::new(Asking::new(&Config { authorize: Some(questions), ..config() }));
    let told: Arc<Mutex<Vec<(u64, &str)>>> = Arc::default();
    let ask = || {
        let list = Arc::clone(&told);
        let tell = move |number, answer| {
            let what = match answer {
                Answer::Refused(_) => "refused",
                Answer::Closed => "closed",
                Answer::Failed | Answer::States(_) => "other",
            };
            list.lock().push((number, what));
        };
        asking.inquire(Subject::Authorize, "\"topics\":[]", Box::new(tell))
    };
    let [first, late, gone, last] = [(); 4].map(|()| ask().ok().unwrap());
    assert_eq!((ask().err(), asking.inquiries(Subject::Authorize)), (Some(Unasked::Busy), 4));
    let taken = asking.take().unwrap();
    assert!(taken.contains(r#"{"id":1,"kind":"authorize","topics":[]}"#), "{taken}");
    late.give_up();
    drop(gone);
    let answers = r#"[{"id":1,"refused":[]},{"id":1,"refused":[]},{"id":2,"refused":[]},{"id":3,"refused":[]}]"#;
    assert!(asking.answer(answers).unwrap().is_empty());
    drop(first);
    assert_eq!(asking.take().as_deref(), Some(r#"{"asked":[],"gone":[3],"late":[2]}"#));
    // One that was not taken is not named.
    ask().ok().unwrap().give_up();
    assert_eq!(asking.take(), None);
    asking.close();
    assert_eq!(*told.lock(), [(1, "refused"), (4, "closed")]);
    assert_eq!((ask().err(), asking.inquiries(Subject::Authorize)), (Some(Unasked::Closed), 1));
    drop(last);
    assert_eq!(asking.inquiries(Subject::Authorize), 0);
}
