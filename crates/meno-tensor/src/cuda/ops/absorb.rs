use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::ops::mla::AbsorbOutput;
use crate::ops::mla::AbsorbQuery;

impl Kernels for AbsorbQuery {
    fn forward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
    fn backward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
}

impl Kernels for AbsorbOutput {
    fn forward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
    fn backward(&self, _ctx: &mut Ctx) -> Result<(), Error> {
        todo!()
    }
}
