//! How many tokens each expert received, by layer.

/// Tokens of each expert in each mixture-of-experts layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExpertLoad(pub(crate) Vec<Vec<u32>>);

impl ExpertLoad {
    /// Adds the load of a pass.
    pub(crate) fn add(&mut self, load: &[Vec<u32>]) {
        self.0.resize(load.len().max(self.0.len()), Vec::new());
        for (sum, load) in self.0.iter_mut().zip(load) {
            sum.resize(load.len(), 0);
            sum.iter_mut().zip(load).for_each(|(a, b)| *a += b);
        }
    }

    /// Appends the load to a row of numbers.
    pub(crate) fn write(&self, row: &mut Vec<f64>) {
        row.push(self.0.len() as f64);
        for layer in &self.0 {
            row.push(layer.len() as f64);
            row.extend(layer.iter().map(|&n| f64::from(n)));
        }
    }

    /// Reads what [`ExpertLoad::write`] appended.
    pub(crate) fn read(row: &mut impl Iterator<Item = f64>) -> ExpertLoad {
        let layers = row.next().unwrap_or(0.0) as usize;
        let mut layer = || {
            let experts = row.next().unwrap_or(0.0) as usize;
            row.by_ref().take(experts).map(|n| n as u32).collect()
        };
        ExpertLoad((0..layers).map(|_| layer()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_add_up_and_survive_as_numbers() {
        let mut load = ExpertLoad::default();
        load.add(&[vec![1, 2], vec![3, 4, 5]]);
        load.add(&[vec![10, 20], vec![0, 0, 7]]);
        assert_eq!(load.0, [vec![11, 22], vec![3, 4, 12]]);
        let mut row = vec![0.5];
        load.write(&mut row);
        let mut numbers = row.into_iter().skip(1);
        assert_eq!(ExpertLoad::read(&mut numbers), load);
        assert_eq!(numbers.next(), None);
    }
}
