use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::ops::qk_norm::QkNorm;

impl Kernels for QkNorm {
    fn forward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
    fn backward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
}
