use super::body::{Assignment, TriggerBody, ValueSource};

fn read(body: &str) -> TriggerBody {
    TriggerBody::read(body)
}

/// The only assignment of a body that can be followed.
fn only(body: &str) -> Assignment {
    let mut read = read(body);
    assert!(!read.unclear, "{body}");
    assert_eq!(read.assignments.len(), 1, "{body}");
    read.assignments.remove(0)
}

#[test]
fn an_assignment_names_its_column_and_what_its_value_is() {
    for (value, source) in [
        ("now()", ValueSource::Clock),
        ("clock_timestamp()", ValueSource::WallClock),
        ("nextval('s')", ValueSource::Volatile),
        ("coalesce(NEW.b, 0)", ValueSource::Payload),
        // Names of columns are no functions.
        ("NEW.now", ValueSource::Payload),
        ("OLD.random", ValueSource::Payload),
        ("'now()'", ValueSource::Payload),
        // The time of the moment goes before the others.
        (
            "random() + extract(epoch FROM clock_timestamp())",
            ValueSource::WallClock,
        ),
    ] {
        for sign in [":=", "="] {
            let found = only(&format!("BEGIN NEW.a {sign} {value}; RETURN NEW; END"));
            assert_eq!(found.column, "a");
            assert_eq!(found.value_source, source, "{value}");
            assert!(found.on_insert() && found.on_update());
        }
    }
}

#[test]
fn a_value_that_fills_a_null_is_not_rewritten() {
    let fills = only("BEGIN NEW.a := coalesce(NEW.a, now()); END");
    assert!(fills.depends_on_itself && !fills.rewritten);
    let rewrites = only("BEGIN NEW.a := lower(NEW.a); END");
    assert!(rewrites.depends_on_itself && rewrites.rewritten);
    let neither = only("BEGIN NEW.a := lower(NEW.b); END");
    assert!(!neither.depends_on_itself && !neither.rewritten);
    let part = only("BEGIN NEW.a[1] := 2; END");
    assert!(part.rewritten);
}

#[test]
fn a_condition_on_the_column_counts_as_a_dependence() {
    let body = "BEGIN IF NEW.a IS NULL THEN NEW.a := now(); END IF; NEW.a := now(); END";
    let found = read(body).assignments;
    assert!(found[0].depends_on_itself);
    assert!(!found[1].depends_on_itself, "the IF has ended");
}

fn events(condition: &str) -> [bool; 4] {
    let body = format!("BEGIN IF {condition} THEN NEW.a := 1; ELSE NEW.b := 1; END IF; END");
    let found = read(&body).assignments;
    [
        found[0].on_insert(),
        found[0].on_update(),
        found[1].on_insert(),
        found[1].on_update(),
    ]
}

#[test]
fn branches_are_reached_in_the_events_that_their_conditions_name() {
    assert_eq!(events("TG_OP = 'INSERT'"), [true, false, false, true]);
    assert_eq!(events("TG_OP <> 'INSERT'"), [false, true, true, false]);
    assert_eq!(events("TG_OP != 'INSERT'"), [false, true, true, false]);
    assert_eq!(
        events("TG_OP IN ('INSERT', 'UPDATE')"),
        [true, true, false, false]
    );
    assert_eq!(
        events("TG_OP = 'INSERT' OR TG_OP = 'UPDATE'"),
        [true, true, false, false]
    );
    // Not every INSERT gets there, and so the other branch sees some, too.
    assert_eq!(
        events("TG_OP = 'INSERT' AND NEW.x > 1"),
        [true, false, true, true]
    );
    assert_eq!(events("NEW.x > 1"), [true, true, true, true]);
}

#[test]
fn a_later_branch_has_what_the_earlier_ones_leave() {
    let body = "BEGIN IF TG_OP = 'INSERT' THEN NEW.a := 1; ELSIF TG_OP = 'DELETE' THEN NEW.b := 1;
                ELSE NEW.c := 1; END IF; END";
    let found = read(body).assignments;
    let reached: Vec<(bool, bool)> = found
        .iter()
        .map(|a| (a.on_insert(), a.on_update()))
        .collect();
    assert_eq!(reached, [(true, false), (false, false), (false, true)]);
}

#[test]
fn targets_of_into_are_assignments() {
    let found = read("BEGIN SELECT now(), 2 INTO STRICT NEW.a, NEW.b FROM t; END").assignments;
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].column.as_str(), found[1].column.as_str()),
        ("a", "b")
    );
    assert_eq!(found[0].value_source, ValueSource::Clock);
}

#[test]
fn what_cannot_be_followed_is_unclear() {
    assert!(read("BEGIN NEW := jsonb_populate_record(NEW, x); END").unclear);
    assert!(read("BEGIN SELECT * INTO NEW FROM t; END").unclear);
    assert!(read("BEGIN CASE TG_OP WHEN 'INSERT' THEN NEW.a := 1; END CASE; END").unclear);
    assert!(!read("BEGIN IF NEW IS NULL THEN RETURN NEW; END IF; END").unclear);
}

#[test]
fn the_end_of_a_case_within_a_condition_ends_no_if() {
    let body = "BEGIN IF CASE WHEN NEW.x THEN TRUE END THEN NEW.a := 1; END IF; NEW.b := 2; END";
    let columns: Vec<String> = read(body)
        .assignments
        .into_iter()
        .map(|a| a.column)
        .collect();
    assert_eq!(columns, ["a", "b"]);
}

#[test]
fn any_source_is_read_to_its_end() {
    let words = [
        "BEGIN", "IF", "THEN", "ELSE", "ELSIF", "END", "CASE", "WHEN", "NEW", ".", "a", ":=", ";",
        "INTO", ",", "TG_OP", "=", "'INSERT'", "<<", "#", "LOOP", "FOR", "OR",
    ];
    let mut random = crate::random::Random::new(6);
    for _ in 0..2_000 {
        let source = random
            .several(15, |random| *random.one_of(&words))
            .join(" ");
        let read = read(&source);
        assert!(read.assignments.iter().all(|a| !a.column.is_empty()));
    }
}
