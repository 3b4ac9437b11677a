//! The scripts that mean harm, by what they try.

/// A hostile script, the codes that may end it, and what it tries.
pub(super) type Hostile = (&'static str, &'static [&'static str], &'static str);

pub(super) const TIME: &str = "script_timeout";
pub(super) const OPERATIONS: &str = "script_operations";
pub(super) const MEMORY: &str = "script_memory";
pub(super) const SIZE: &str = "script_size";
pub(super) const DEPTH: &str = "script_depth";
pub(super) const FAILED: &str = "script_failed";
pub(super) const SYNTAX: &str = "script_syntax";

/// Ends by whichever comes first on a fast or a slow machine.
const ENDLESS: &[&str] = &[OPERATIONS, TIME];
/// A value that grows: it may also be slow, for Rhai measures it at each step.
const GROWING: &[&str] = &[SIZE, MEMORY, OPERATIONS, TIME];

/// What does not end.
pub(super) const LOOPS: &[Hostile] = &[
    ("endless loop", ENDLESS, "let n = 0; loop { n += 1 }"),
    ("endless loop without a variable", ENDLESS, "loop { }"),
    ("endless while", ENDLESS, "while true { 1 + 1; }"),
    ("endless for", ENDLESS, "for i in 0..9000000000000000000 { i * i; }"),
    ("caught and again", ENDLESS, "loop { try { throw 1 } catch { } }"),
    ("limits caught", ENDLESS, "try { loop { } } catch { 1 }"),
    ("mutual recursion", &[DEPTH], "fn a() { b() } fn b() { a() } a()"),
    ("recursion", &[DEPTH], "fn f(n) { f(n + 1) } f(0)"),
    ("recursion caught", &[DEPTH], "fn f(n) { try { f(n + 1) } catch { f(n + 1) } } loop { f(0) }"),
    ("recursion in two", ENDLESS, "fn f(n) { if n > 0 { f(n - 1) + f(n - 1) } else { 1 } } f(25)"),
    ("recursion of a closure", &[DEPTH, FAILED], "fn f(g) { g.call(g) } f(|g| g.call(g))"),
    ("recursion by map", &[DEPTH], "fn f(x) { [1].map(Fn(\"f\")) } f(1)"),
    (
        "sort without end",
        ENDLESS,
        "let a = []; for i in 0..900 { a.push(i % 7) }
        loop { a.sort(|x, y| { for i in 0..9000 { } x - y }) }",
    ),
    (
        "comparing without order",
        ENDLESS,
        "let a = []; for i in 0..900 { a.push(i) }
        loop { a.sort(|x, y| 1) }",
    ),
    ("dedup without end", ENDLESS, "let a = [1, 2, 3]; loop { a.dedup(|x, y| { loop { } }) }"),
    (
        "a race again and again",
        ENDLESS,
        "let k = [1, 2]; loop { try { [1].map(|x|
        k.map(|y| k.len())) } catch { } }",
    ),
    ("sleep", &[FAILED], "sleep(10)"),
    ("sleep by name", &[FAILED], "Fn(\"sleep\").call(10)"),
    ("sleep by name, for a float", &[FAILED], "Fn(\"sleep\").call(10.0)"),
    ("sleep for each", &[FAILED], "[10, 10].for_each(Fn(\"sleep\"))"),
    ("eval", &[SYNTAX], "eval(\"loop { }\")"),
    ("eval by name", &[FAILED, SYNTAX, OPERATIONS, TIME], "Fn(\"eval\").call(\"loop { }\")"),
    ("curry", &[SYNTAX], "Fn(\"f\").curry(1)"),
    ("import of a file", &[FAILED], "import \"/etc/hostname\" as h;"),
    ("import without end", &[SIZE, OPERATIONS, TIME], "loop { import \"m\" as m; }"),
];

/// What grows.
pub(super) const GROWTH: &[Hostile] = &[
    ("doubled text", &[SIZE], "let s = \"xxxxxxxx\"; loop { s += s }"),
    ("text by +", &[SIZE], "let s = \"xxxxxxxx\"; loop { s = s + s }"),
    ("text by interpolation", &[SIZE], "let s = \"xxxxxxxx\"; loop { s = `${s}${s}` }"),
    ("padded text", &[SIZE], "let s = \"x\"; s.pad(2000000000, 'x')"),
    ("padded by text", &[SIZE], "let s = \"x\"; s.pad(2000000000, \"xyz\")"),
    ("replaced text", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); s.replace(\"x\", s)"),
    ("replaced nothing", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); s.replace(\"\", s)"),
    ("replaced letters", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); s.replace('x', s)"),
    ("upper case", GROWING, "let s = \"\"; s.pad(500000, 'ΐ'); loop { s = s.to_upper() + s }"),
    ("many texts", &[MEMORY, SIZE, TIME], "let a = \"\"; a.pad(1000000, 'a'); let b = a + \"b\";
        let c = b + \"b\"; let d = c + \"b\"; let e = d + \"b\"; let f = e + \"b\"; let g = f + \"b\";
        let h = g + \"b\"; let i = h + \"b\"; let j = i + \"b\"; let k = j + \"b\"; let l = k + \"b\";
        let m = l + \"b\"; let n = m + \"b\"; let o = n + \"b\"; let p = o + \"b\"; let q = p + \"b\";
        let r = q + \"b\"; let s = r + \"b\"; let t = s + \"b\"; loop { }"),
    ("pushed", GROWING, "let a = []; loop { a.push(0) }"),
    ("inserted", GROWING, "let a = []; loop { a.insert(0, 0) }"),
    ("added to", GROWING, "let a = []; loop { a += 0 }"),
    ("appended to itself", &[SIZE], "let a = [1, 2, 3, 4]; loop { a.append(a) }"),
    ("added to itself", &[SIZE], "let a = [1, 2, 3, 4]; loop { a += a }"),
    ("spliced into itself", &[SIZE], "let a = [1, 2, 3, 4]; loop { a.splice(0..0, a) }"),
    ("padded array", &[SIZE], "let a = []; a.pad(1000000000, 0)"),
    ("array padded by an array", &[SIZE], "let a = []; a.pad(5000, 0); let b = []; b.pad(5000, a)"),
    ("array of arrays", GROWING, "let a = [1]; loop { a = [a, a, a, a, a, a, a, a] }"),
    ("array written to", GROWING, "let b = []; b.pad(900, 0); let a = []; a.pad(900, 0);
        for i in 0..900 { a[i] = b } a.len()"),
    ("split to letters", &[SIZE], "let s = \"\"; s.pad(1000000, ','); s.split(\",\")"),
    ("split by a letter", &[SIZE], "let s = \"\"; s.pad(1000000, ','); s.split(',')"),
    ("split from the end", &[SIZE], "let s = \"\"; s.pad(1000000, ','); s.split_rev(\",\")"),
    ("split to words", &[SIZE], "let s = \"\"; s.pad(1000000, \"x \"); s.split()"),
    ("to letters", &[SIZE], "let s = \"\"; s.pad(1000000, ','); s.to_chars()"),
    ("huge blob", &[SIZE], "blob(2000000000)"),
    ("padded blob", &[SIZE], "let b = blob(10); b.pad(2000000000, 0)"),
    ("doubled blob", &[SIZE], "let b = blob(10); loop { b += b }"),
    ("map by index", &[SIZE], "let m = #{}; for i in 0..200000 { m[\"k\" + i] = i } m.len()"),
    ("map by index, never read", &[SIZE], "let m = #{}; let i = 0; loop { i += 1; m[`k${i}`] = i }"),
    ("map in a map", &[SIZE], "let m = #{ a: #{ b: #{} } }; let i = 0;
        loop { i += 1; m.a.b[`k${i}`] = i }"),
    ("map by this", &[SIZE], "fn grow() { let i = 0; loop { i += 1; this[`k${i}`] = i } }
        let m = #{}; m.grow()"),
    ("map by set", GROWING, "let m = #{}; let i = 0; loop { i += 1; m.set(`k${i}`, i) }"),
    ("map by +=", GROWING, "let m = #{}; let i = 0; loop { i += 1; let n = #{}; n[`k${i}`] = 1;
        m += n }"),
    ("map mixed in", GROWING, "let m = #{}; let i = 0; loop { i += 1; let n = #{}; n[`k${i}`] = 1;
        m.mixin(n) }"),
    ("map filled", GROWING, "let m = #{}; let i = 0; loop { i += 1; let n = #{}; n[`k${i}`] = 1;
        m.fill_with(n) }"),
    ("one long text named often, printed", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); let a = [];
        a.pad(1000, 0); for i in 0..1000 { a[i] = s } print(a)"),
    ("one long text named often, in a text", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); let a = [];
        a.pad(1000, 0); for i in 0..1000 { a[i] = s } `${a}`"),
    ("one long text named often, added", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); let a = [];
        a.pad(1000, 0); for i in 0..1000 { a[i] = s } \"\" + a"),
    ("one long text named often, as a constant", &[SIZE], "let s = \"\"; s.pad(900000, 'x');
        let a = []; a.pad(1000, 0); for i in 0..1000 { a[i] = s } const B = a; `${B}`"),
    ("one long text named often, in a map", &[SIZE], "let s = \"\"; s.pad(900000, 'x'); let m = #{};
        for i in 0..900 { m[`k${i}`] = s } m.to_json()"),
    ("one long text named often, thrown", &[SIZE, FAILED], "let s = \"\"; s.pad(900000, 'x');
        let a = []; a.pad(1000, 0); for i in 0..1000 { a[i] = s } throw a"),
    ("one long text named often, answered", &[SIZE], "let s = \"\"; s.pad(900000, 'x');
        let a = []; a.pad(1000, 0); for i in 0..1000 { a[i] = s } a"),
    ("many closures", &[SIZE, MEMORY, OPERATIONS, TIME, FAILED], "let a = []; let k = [1, 2, 3];
        loop { a.push(|x| k) }"),
    ("a closure that holds itself", &[FAILED], "let f = 0; f = || f; f = || f; loop { }"),
    ("a chain of closures", &[FAILED], "let f = || 0; loop { let g = f; f = || g }"),
    ("a chain of constants", &[FAILED], "let f = || 0; loop { const G = f; f = || G }"),
    ("a chain of constant arrays", &[FAILED], "let f = || 0; loop { const G = [f]; f = || G }"),
    ("a chain through this", &[FAILED, DEPTH, OPERATIONS], "fn grow() { let g = this; this = || g } let f = || 0; loop { f.grow() }"),
    ("a chain through an array", &[FAILED], "let b = [|| 0]; loop { let g = b.pop(); b.push(|| g) }"),
    ("a chain through a map", &[FAILED], "let b = #{ f: || 0 }; loop { let g = b.f; b.f = || g }"),
    ("a chain through a parameter", &[FAILED], "fn wrap(g) { || g } let f = || 0; loop { f = wrap(f) }"),
    ("a chain through a loop", &[FAILED], "let f = [|| 0]; loop { for g in f { f = [|| g] } }"),
    ("a chain through a catch", &[FAILED], "let f = || 0; loop { try { throw f } catch (g) { f = || g } }"),
    ("curry by name", &[FAILED, SYNTAX], "let f = Fn(\"x\"); loop { f = Fn(\"curry\").call(f, f) }"),
    ("curry as a function", &[SYNTAX], "let f = || 0; loop { f = curry(f, f) }"),
    ("a captured variable captured again", &[FAILED, OPERATIONS], "let k = 0; let f = || k; loop { let g = || [k, f]; f = g }"),
    ("capturing a large value", GROWING, "let a = []; a.pad(9000, 1); let b = [];
        loop { let f = || a; b.push(f) }"),
    ("printing without end", ENDLESS, "let s = \"\"; s.pad(10000, 'x'); loop { print(s) }"),
    ("many variables", &[SIZE], "let a = 1; let b = 1; let c = 1; let d = 1; let e = 1; let f = 1;
        let g = 1; let h = 1; let i = 1; let j = 1; let k = 1; let l = 1; let m = 1; let n = 1;
        let o = 1; let p = 1; let q = 1; let r = 1; let s = 1; let t = 1; let u = 1; let v = 1;"),
    ("json bomb", &[SIZE, FAILED], "let s = \"[\"; for i in 0..300 { s += \"[\" } parse_json(s)"),
    ("json wide", &[SIZE], "let s = \"\"; s.pad(400000, \"1,\"); parse_json(\"[\" + s + \"1]\")"),
];

/// What nests.
pub(super) const NESTING: &[Hostile] = &[
    ("nested arrays", GROWING, "let a = []; for i in 0..100000 { a = [a] }"),
    ("nested maps", GROWING, "let m = #{}; for i in 0..100000 { m = #{ m: m } }"),
    (
        "nested by writing",
        GROWING,
        "let a = []; for i in 0..100000 { let b = [0]; b[0] = a; a = b }",
    ),
    ("nested by moving", GROWING, "let b = [[]]; for i in 0..100000 { b.push([b.pop()]) }"),
    ("nested, eight at once", GROWING, "let a = []; loop { a = [[[[[[[[a]]]]]]]] }"),
    ("nested and printed", &[DEPTH, TIME], "let a = []; for i in 0..300 { a = [a] } print(a)"),
    ("nested in a text", &[DEPTH, TIME], "let a = []; for i in 0..300 { a = [a] } `${a}`"),
    ("nested and compared", &[DEPTH, TIME], "let a = []; for i in 0..300 { a = [a] } a == a"),
    (
        "nested maps compared",
        &[DEPTH, TIME],
        "let a = #{}; for i in 0..300 { a = #{ a: a } } a != a",
    ),
    (
        "nested and as json",
        &[DEPTH, TIME],
        "let a = []; for i in 0..300 { a = [a] } #{ a: a }.to_json()",
    ),
    ("nested and thrown", &[FAILED, TIME], "let a = []; for i in 0..300 { a = [a] } throw a"),
    ("nested and answered", &[DEPTH, TIME], "let a = []; for i in 0..300 { a = [a] } a"),
    (
        "nested and captured",
        &[FAILED, TIME],
        "let a = []; for i in 0..300 { a = [a] } [1].map(|x| a)",
    ),
];

/// Sources that are deep rather than long.
pub(super) fn deep_sources(times: usize) -> Vec<(&'static str, String)> {
    let nest = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    vec![
        ("parentheses", nest("(", "1", ")")),
        ("arrays", nest("[", "1", "]")),
        ("maps", nest("#{a:", "1", "}")),
        ("blocks", nest("{", "1", "}")),
        ("blocks as values", format!("let a = {}", nest("{", "1", "}"))),
        ("negations", nest("-", "1", "")),
        ("nots", nest("!", "true", "")),
        ("sums", format!("let a = 1; a{}", " + a".repeat(times))),
        ("powers", format!("let a = 1; a{}", " ** a".repeat(times))),
        ("conjunctions", format!("let a = true; a{}", " && a".repeat(times))),
        ("comparisons", format!("let a = 1; a{}", " == a".repeat(times))),
        ("fallbacks", format!("let a = (); a{}", " ?? a".repeat(times))),
        ("properties", format!("let a = #{{}}; a{}", ".a".repeat(times))),
        ("safe properties", format!("let a = #{{}}; a{}", "?.a".repeat(times))),
        ("methods", format!("let a = 1; a{}", ".abs()".repeat(times))),
        ("indices", format!("let a = [1]; a{}", "[0]".repeat(times))),
        ("nested indices", format!("let a = [0]; {}", nest("a[", "0", "]"))),
        ("calls", nest("abs(", "1", ")")),
        ("closures", nest("|x| ", "1", "")),
        ("blocks of closures", nest("|x| {", "1", "}")),
        ("calls of calls", format!("let f = || 1; f{}", ".call()".repeat(times))),
        ("texts", nest("`${", "1", "}`")),
        ("ifs", nest("if true {", "1", "}")),
        ("else ifs", format!("if true {{ }}{}", " else if true { }".repeat(times))),
        ("loops", nest("loop {", "1", "; break; }")),
        ("fors", nest("for i in 0..1 {", "1;", "}")),
        ("switches", nest("switch 1 { 1 => ", "1", "}")),
        ("tries", nest("try {", "1", "} catch { }")),
        ("functions", nest("fn f() {", "1", "}")),
        ("comments", nest("/*", "1", "*/")),
        ("namespaces", format!("{}f()", "m::".repeat(times))),
        ("parameters", format!("fn f({}) {{ 1 }} 1", vec!["a"; times].join(","))),
        ("assignments", format!("let a = 1; {}1", "a = ".repeat(times))),
        ("ranges", format!("1{}", "..1".repeat(times))),
        ("casts", format!("let a = 1; a{}", " in a".repeat(times))),
    ]
}
