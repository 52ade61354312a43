//! A network with its weights on a device. `load.rs` loads it, `save.rs` saves it.

use crate::expert_parallel::{self, ExpertPlacement, ExpertRank};
use crate::network::{InferOptions, Network, TrainOptions};
use crate::{Config, Error, init};
use meno_tensor::backend::{Backend, Executor, Weights};
use meno_tensor::device::Device;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::Program;
use meno_tensor::ops::rope::RopeTable;
use meno_tensor::tape::ParamLayout;
use std::sync::{Arc, OnceLock};

/// A network and its weights. Training, scoring and sampling use the same weights.
pub struct Model {
    /// Its shape.
    pub config: Config,
    /// Its weights.
    pub weights: Box<dyn Weights>,
    backend: Arc<dyn Backend>,
    network: Network,
    /// Angles of all positions, for generation.
    rope: OnceLock<Arc<RopeTable>>,
}

impl Model {
    /// Creates a network with zeroed weights on a device.
    pub(crate) fn new(config: Config, network: Network, layout: ParamLayout, device: Device) -> Result<Model, Error> {
        let backend = device.open()?;
        let weights = backend.weights(Arc::new(layout))?;
        Ok(Model { config, weights, backend, network, rope: OnceLock::new() })
    }

    /// Creates new weights on the CPU: N(0, `initializer_range`²), gains 1, biases 0. The same seed gives the same
    /// weights on any machine.
    pub fn random(config: Config, seed: u64) -> Result<Model, Error> {
        Model::random_on(Device::Cpu, config, seed)
    }

    /// Like [`Model::random`], on a device.
    pub fn random_on(device: Device, config: Config, seed: u64) -> Result<Model, Error> {
        Model::random_with(device, config, seed, None)
    }

    /// Like [`Model::random_on`], with only the experts of one rank if they are dealt out ([`expert_parallel`]). The
    /// weights of a parameter do not depend on the ranks.
    pub fn random_with(device: Device, config: Config, seed: u64, experts: Option<ExpertRank>) -> Result<Model, Error> {
        let (network, mut layout) = Network::declare(&config);
        if let Some(own) = experts {
            expert_parallel::set_absent(&network, &mut layout, own)?;
        }
        if !device.has_own_memory() {
            init::check_memory(init::present_bytes(&layout))?;
        }
        let mut model = Model::new(config, network, layout, device)?;
        init::fill(&mut *model.weights, model.config.initializer_range, seed)?;
        Ok(model)
    }

    /// Returns the device's backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Returns the names, shapes and places of the parameters.
    pub fn layout(&self) -> &Arc<ParamLayout> {
        self.weights.layout()
    }

    /// Returns the handles of embedding, blocks, norm and head.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the names and shapes of the tensors of a network of this shape.
    pub fn tensor_shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
        let (_, layout) = Network::declare(config);
        layout.iter().map(|(_, info)| (info.name.clone(), info.shape.clone())).collect()
    }

    /// Returns the KV cache sizes of a network of this shape, by layer.
    pub fn cache_shapes(config: &Config, o: InferOptions) -> Vec<LayerSpec> {
        Network::declare(config).0.cache_specs(o)
    }

    /// Returns the program of [`Model::train_executor`] for a network of this shape. It holds no memory, so it can be
    /// planned for networks that this machine cannot hold.
    pub fn train_program(config: &Config, rows: usize, o: TrainOptions) -> Program {
        let (network, layout) = Network::declare(config);
        network.train(&layout, rows, o, rope_table(config, rows))
    }

    /// Like [`Model::train_program`], for [`Model::infer_executor`].
    pub fn infer_program(config: &Config, rows: usize, o: InferOptions) -> Program {
        let (network, layout) = Network::declare(config);
        network.infer(&layout, rows, o, false, rope_table(config, config.max_position_embeddings))
    }

    /// Returns the KV cache sizes of every layer, for [`meno_tensor::backend::Backend::kv_cache`].
    pub fn cache_specs(&self, o: InferOptions) -> Vec<LayerSpec> {
        self.network.cache_specs(o)
    }

    /// Returns the KV cache sizes of the MTP module's layer, if the network has the module.
    pub fn mtp_cache_spec(&self, o: InferOptions) -> Option<LayerSpec> {
        self.network.mtp_cache_spec(o)
    }

    /// Rejects tokens that have no row in the embedding; they come from the tokenizer of another model.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab_size = self.config.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(Error::Token { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Creates an executor that trains on up to `rows` tokens per pass: loss head 0 is the next token, head 1 the MTP
    /// module's; balance losses are included if the config asks for them.
    pub fn train_executor(&self, rows: usize, o: TrainOptions) -> Result<Box<dyn Executor>, Error> {
        let program = self.network.train(self.layout(), rows, o, self.rope_table(rows));
        Ok(self.backend.executor(program)?)
    }

    /// Creates an executor that computes log-probabilities and entropies of the targets of head 0, over up to `rows`
    /// tokens.
    pub fn score_executor(&self, rows: usize) -> Result<Box<dyn Executor>, Error> {
        Ok(self.backend.executor(self.network.score(self.layout(), rows, self.rope_table(rows)))?)
    }

    /// Creates an executor that generates over a KV cache, up to `rows` new tokens per pass: logits of
    /// `Batch::logit_rows`.
    pub fn infer_executor(&self, rows: usize, o: InferOptions) -> Result<Box<dyn Executor>, Error> {
        let program = self.network.infer(self.layout(), rows, o, false, self.whole_rope_table());
        Ok(self.backend.executor(program)?)
    }

    /// Like [`Model::infer_executor`]; it also returns the hidden states from which [`Model::draft_executor`] drafts.
    pub fn infer_executor_with_hidden(&self, rows: usize, o: InferOptions) -> Result<Box<dyn Executor>, Error> {
        let program = self.network.infer(self.layout(), rows, o, true, self.whole_rope_table());
        Ok(self.backend.executor(program)?)
    }

    /// Creates an executor that drafts with the MTP module, if the network has one. A row is a position i:
    /// `Batch::hidden` holds the main network's hidden state at i, `Batch::tokens` the token at i + 1; the logits are
    /// those of i + 2. Its keys and values follow those of the main network's layers in the cache
    /// ([`Model::mtp_cache_spec`]).
    pub fn draft_executor(&self, rows: usize, o: InferOptions) -> Result<Option<Box<dyn Executor>>, Error> {
        match self.network.draft(self.layout(), rows, o, self.whole_rope_table()) {
            Some(program) => Ok(Some(self.backend.executor(program)?)),
            None => Ok(None),
        }
    }

    /// Moves the selection bias of every router against its load (DeepSeek-V3 §2.1.2): −γ if an expert got more tokens
    /// than the mean, +γ if fewer. `expert_load` is that of the whole step
    /// ([`meno_tensor::tape::Outputs::expert_load`], summed over micro-batches).
    pub fn update_router_bias(&mut self, expert_load: &[Vec<u32>], gamma: f32) -> Result<(), Error> {
        if gamma == 0.0 {
            return Ok(());
        }
        for (moe, load) in self.network.moes().zip(expert_load) {
            moe.update_bias(&mut *self.weights, load, gamma)?;
        }
        Ok(())
    }

    /// Returns where the experts lie if they are dealt out to `ranks` ranks.
    ///
    /// # Errors
    /// Fails if the number of ranks does not divide that of the experts.
    pub fn expert_placement(&self, ranks: usize) -> Result<ExpertPlacement, Error> {
        ExpertPlacement::new(&self.network, self.layout(), ranks)
    }

    /// Returns the angles of all positions.
    fn whole_rope_table(&self) -> Arc<RopeTable> {
        self.rope.get_or_init(|| self.rope_table(self.config.max_position_embeddings)).clone()
    }

    fn rope_table(&self, positions: usize) -> Arc<RopeTable> {
        rope_table(&self.config, positions)
    }
}

/// Returns the angles of the first `positions` positions.
fn rope_table(config: &Config, positions: usize) -> Arc<RopeTable> {
    Arc::new(RopeTable::new(&config.rope_frequencies(), config.rope_scaling.magnitude(), positions))
}
