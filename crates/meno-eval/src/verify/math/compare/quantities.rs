//! Compares quantities with units, and times of day.

use super::Compare;
use super::shape::{kelvins, scaled};
use crate::verify::math::tree::{Expr, Literal};
use crate::verify::math::units;
use num_traits::ToPrimitive;

/// Hour and minute of `3 PM` and `3:45 PM`, counted from midnight.
fn clock(x: &Expr, unit: &str) -> Option<Expr> {
    let parts = match x {
        Expr::Apply(name, parts) if name == "\\time" => parts.as_slice(),
        x => std::slice::from_ref(x),
    };
    let Expr::Number(hour) = &parts[0] else { return None };
    let hour = hour.value.is_integer().then(|| hour.value.to_integer().to_u32())?.filter(|h| (1..=12).contains(h))?;
    let hour = match unit.to_lowercase().chars().next()? {
        'a' => hour % 12,
        _ => hour % 12 + 12,
    };
    let mut time = vec![Expr::Number(Literal::integer(hour))];
    time.extend(parts[1..].iter().cloned());
    if time.len() == 1 {
        time.push(Expr::Number(Literal::integer(0)));
    }
    Some(Expr::Apply("\\time".into(), time))
}

/// True if a unit is AM or PM.
fn is_half_day(unit: &units::Unit) -> bool {
    unit.dimension.keys().any(|base| base == "am" || base == "pm")
}

impl Compare {
    /// Compares quantities with unit conversion. If one side has no unit, it takes the other's.
    pub(super) fn quantities(&mut self, a: &Expr, b: &Expr) -> bool {
        match (a, b) {
            (Expr::Quantity(x, u), Expr::Quantity(y, v)) => {
                let (u_name, v_name) = (u, v);
                let (Some(u), Some(v)) = (units::parse(u), units::parse(v)) else { return u == v && self.same(x, y) };
                if is_half_day(&u) && u.dimension == v.dimension {
                    return self.same(x, y) || clock(x, u_name).is_some() && clock(x, u_name) == clock(y, v_name);
                }
                if u.is_generic() || v.is_generic() {
                    return self.same(x, y);
                }
                if let (Some(s), Some(t)) = (u.temperature(), v.temperature())
                    && u != v
                {
                    return self.same(&kelvins(x, &s), &kelvins(y, &t));
                }
                u.dimension == v.dimension
                    && (u.factor == v.factor && self.same(x, y)
                        || self.same(&scaled(x, &u.factor), &scaled(y, &v.factor)))
            }
            // 3 PM is 15:00.
            (Expr::Quantity(x, unit), y @ Expr::Apply(time, _))
            | (y @ Expr::Apply(time, _), Expr::Quantity(x, unit))
                if time == "\\time" && units::parse(unit).is_some_and(|u| is_half_day(&u)) =>
            {
                self.same(x, y) || clock(x, unit).as_ref() == Some(y)
            }
            (Expr::Quantity(x, _), y) | (y, Expr::Quantity(x, _)) => match y {
                Expr::Chain(..) => self.named(y, if std::ptr::eq(y, a) { b } else { a }),
                Expr::List(_) | Expr::Set(_) => self.lists(a, b),
                Expr::Percent(_) | Expr::Degrees(_) | Expr::Text(_) => false,
                _ => self.same(x, y),
            },
            _ => false,
        }
    }
}
