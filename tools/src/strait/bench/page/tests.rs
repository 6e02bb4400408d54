// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::super::distance::Class;
use super::super::session::tests::{head, run};
use super::super::session::{End, Run};
use super::*;

fn session() -> Session {
    let mut session = Session::new(head());
    for class in [Class::Near, Class::Far, Class::Mixed] {
        for (name, factor) in [("strait", 1.0), ("alpha", 0.5), ("beta", 3.0)] {
            session.runs.push(run(name, class, &[(1, factor), (1024, 2.0 * factor)]));
        }
    }
    session
}

fn rendered(session: &Session) -> String {
    page(session, &Comparison::of(session))
}

/// Elements that have no end.
const VOID: &[&str] = &["meta", "br", "input", "!DOCTYPE"];

/// Whether every element that begins ends, in the right order, and no character is out of place.
fn well_formed(page: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    // A style sheet is not markup.
    let (before, rest) = page.split_once("<style>").expect("a style sheet");
    let (style, after) = rest.split_once("</style>").expect("its end");
    if style.contains('<') {
        return Err("markup in the style sheet".into());
    }
    for part in [before, after].concat().leak().split('<').skip(1) {
        let (tag, text) = part.split_once('>').ok_or(format!("no end: {part}"))?;
        if text.contains('>') {
            return Err(format!("bare '>' in {text}"));
        }
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            match open.pop() {
                Some(name) if name == closed => {}
                other => return Err(format!("</{closed}> ends {other:?}")),
            }
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

#[test]
fn the_check_itself_sees_mistakes() {
    let style = "<style></style>";
    assert_eq!(well_formed(&format!("<p>{style}<b>x</b><br></p>")), Ok(()));
    for wrong in ["<p><b></p></b>", "<p>", "</p>", "<p>a > b</p>", "<p"] {
        assert!(well_formed(&format!("{style}{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn the_page_is_well_formed_and_fetches_nothing() {
    let page = rendered(&session());
    well_formed(&page).unwrap();
    for word in ["http://", "https://", "src=", "href=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(word), "{word} in the page");
    }
    assert!(page.contains("default-src 'none'"));
    // Figures and charts are there, for each class.
    assert_eq!(page.matches("<figure>").count(), 3);
    assert_eq!(page.matches("show-mixed").count(), 3, "a button, its label, its rule");
}

#[test]
fn losses_stand_before_everything_won() {
    let page = rendered(&session());
    let lost = page.find("Where strait is slower").unwrap();
    let all = page.find("All 4 ratios").unwrap();
    assert!(lost < all);
    assert!(page[lost..all].contains("alpha") && page[lost..all].contains("2.00"));
    assert!(!page[lost..all].contains(">faster<"));
}

#[test]
fn what_failed_is_told_with_its_words() {
    let mut session = session();
    let broken = Run {
        failure: Some("exit code 3:\nno <provider> & no luck".into()),
        report: None,
        benchmark: "osu_bw".into(),
        ..session.runs[1].clone()
    };
    session.runs.extend([broken.clone(), broken]);
    session.head.contenders[2].left_out = Some("beta 1.0 has no library".into());
    session.end = Some(End {
        reason: "SIGINT (interrupt)".into(),
        planned: Some(30),
        given_up: vec!["osu_bw over alpha was not tried again: exit code 3".into()],
    });
    let page = rendered(&session);
    well_formed(&page).unwrap();
    assert!(page.contains("no &lt;provider&gt; &amp; no luck"));
    assert!(page.contains("osu_bw over alpha</strong> failed in 2 runs"));
    assert!(page.contains("was left out: beta 1.0 has no library."));
    assert!(page.contains("ended by SIGINT (interrupt) after 11 of 30 runs"));
    assert!(page.contains("strait bench --compare &lt;b&gt;&amp;"), "the command, escaped");
}

#[test]
fn one_class_needs_no_buttons_and_one_size_no_chart() {
    let mut session = Session::new(head());
    session.runs = vec![run("strait", Class::Near, &[(0, 1.0)])];
    let page = rendered(&session);
    well_formed(&page).unwrap();
    assert!(!page.contains("type=\"radio\"") && !page.contains("<polyline"));
    assert!(page.contains("1.000"));
    let empty = Session::new(head());
    well_formed(&rendered(&empty)).unwrap();
    assert!(rendered(&empty).contains("ended hard"));
}
