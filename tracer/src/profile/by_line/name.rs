//! Names of functions as people read them: without what a generator of classes draws, so the same in every run.

use std::borrow::Cow;

/// Parts of class names behind which all is drawn anew in each run.
const DRAWN_AFTER: [&str; 9] = [
    "$$EnhancerBySpringCGLIB",
    "$$FastClassBySpringCGLIB",
    "$$SpringCGLIB",
    "$$EnhancerByCGLIB",
    "$$FastClassByCGLIB",
    "$ByteBuddy",
    "$HibernateProxy",
    "$HibernateInstantiator",
    "$MockitoMock",
];
/// Parts of class names behind which stands a number, and nothing else.
const NUMBERED: [&str; 9] = [
    "$$Lambda$",
    "$$Lambda",
    "$Proxy",
    "GeneratedMethodAccessor",
    "GeneratedConstructorAccessor",
    "GeneratedSerializationConstructorAccessor",
    "LambdaForm$MH",
    "LambdaForm$DMH",
    "LambdaForm$BMH",
];

/// A Java function, `package.Class.method`, without drawn parts: `Feed$$Lambda$14/0x0000000800c03000.run` is
/// `Feed$$Lambda.run`, and `Feed.lambda$open$3` is `Feed.lambda$open`.
pub fn readable(function: &str) -> Cow<'_, str> {
    let Some((class, method)) = function.rsplit_once('.') else { return Cow::Borrowed(function) };
    let (short_class, short_method) = (readable_class(class), readable_method(method));
    if short_class.len() == class.len() && short_method.len() == method.len() {
        Cow::Borrowed(function)
    } else {
        Cow::Owned(format!("{short_class}.{short_method}"))
    }
}

/// The package's parts of a Java function, each with its first letter alone: `c.a.Feed.open`.
pub fn with_initials(function: &str) -> Cow<'_, str> {
    let (package, rest) = split_package(function);
    if package.is_empty() {
        return Cow::Borrowed(function);
    }
    let initials = package.split('.').filter_map(|part| part.chars().next());
    let mut short = String::with_capacity(rest.len() + 8);
    for initial in initials {
        short.push(initial);
        short.push('.');
    }
    short.push_str(rest);
    Cow::Owned(short)
}

/// `Class.method` of a Java function.
pub fn without_package(function: &str) -> &str {
    split_package(function).1
}

/// The package, and `Class.method`.
fn split_package(function: &str) -> (&str, &str) {
    // A hidden class's name may have a dot of its own only behind the class.
    let class_end = function.rfind('.').unwrap_or(0);
    let dot = function.get(..class_end).and_then(|class| class.rfind('.'));
    match dot.and_then(|at| function.split_at_checked(at)) {
        Some((package, name)) => (package, name.strip_prefix('.').unwrap_or(name)),
        None => ("", function),
    }
}

fn readable_class(class: &str) -> &str {
    // `/0x...` of hidden classes, and `/1234567` of older ones.
    let class = match class.rsplit_once('/') {
        Some((name, number)) if number.starts_with(|char: char| char.is_ascii_digit()) => name,
        _ => class,
    };
    // All parts that are looked for have one of both; most names have neither.
    if !class.contains('$') && !class.contains("Accessor") {
        return class;
    }
    let until = |name: &str, mark: &str| class.get(..name.len() + mark.len()).unwrap_or(class);
    for mark in DRAWN_AFTER {
        if let Some((name, _)) = class.split_once(mark) {
            return until(name, mark);
        }
    }
    for mark in NUMBERED {
        if let Some((name, number)) = class.rsplit_once(mark)
            && number.chars().all(|char| char.is_ascii_digit())
        {
            return until(name, mark).trim_end_matches('$');
        }
    }
    class
}

fn readable_method(method: &str) -> &str {
    let number = method.trim_end_matches(|char: char| char.is_ascii_digit());
    if number.len() == method.len() {
        return method;
    }
    match number.strip_suffix('$') {
        Some(name) if name.starts_with("lambda$") || name == "access" => name,
        _ => method,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_parts_are_left_out() {
        for (name, expected) in [
            ("com.acme.Feed.open", "com.acme.Feed.open"),
            ("com.acme.Feed$1.run", "com.acme.Feed$1.run"),
            ("com.acme.Feed.open2", "com.acme.Feed.open2"),
            ("com.acme.Feed.lambda$open$3", "com.acme.Feed.lambda$open"),
            ("com.acme.Feed.lambda$open", "com.acme.Feed.lambda$open"),
            ("com.acme.Feed.access$000", "com.acme.Feed.access"),
            ("com.acme.Feed$$Lambda$14/0x0000000800c03000.run", "com.acme.Feed$$Lambda.run"),
            ("com.acme.Feed$$Lambda/0x00007f1c3c000a00.run", "com.acme.Feed$$Lambda.run"),
            ("com.acme.Feed$$Lambda$7/1234567.run", "com.acme.Feed$$Lambda.run"),
            ("jdk.proxy2.$Proxy12.close", "jdk.proxy2.$Proxy.close"),
            ("com.acme.Feed$ProxyHandler.close", "com.acme.Feed$ProxyHandler.close"),
            ("com.acme.Feed$$SpringCGLIB$$0.open", "com.acme.Feed$$SpringCGLIB.open"),
            ("com.acme.Feed$$EnhancerBySpringCGLIB$$1a2b.open", "com.acme.Feed$$EnhancerBySpringCGLIB.open"),
            ("com.acme.Feed$ByteBuddy$gH4k.open", "com.acme.Feed$ByteBuddy.open"),
            (
                "jdk.internal.reflect.GeneratedMethodAccessor9.invoke",
                "jdk.internal.reflect.GeneratedMethodAccessor.invoke",
            ),
            ("java.lang.invoke.LambdaForm$MH/0x0000000800c0.invoke", "java.lang.invoke.LambdaForm$MH.invoke"),
            ("open", "open"),
            ("", ""),
            (".", "."),
            ("/9.", "."),
        ] {
            assert_eq!(readable(name), expected, "{name}");
        }
    }

    #[test]
    fn packages_are_shortened() {
        assert_eq!(with_initials("com.acme.Feed.open"), "c.a.Feed.open");
        assert_eq!(with_initials("Feed.open"), "Feed.open");
        assert_eq!(with_initials("größe.Feed.open"), "g.Feed.open");
        assert_eq!(without_package("com.acme.Feed$1.open"), "Feed$1.open");
        assert_eq!(without_package("open"), "open");
    }
}
