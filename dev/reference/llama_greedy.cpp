// Greedy decoding with llama.cpp, for greedy_vs_llama_cpp.py: one line of JSON per prompt, with each step's two best
// tokens and their logits.
//
//   llama_greedy MODEL.gguf N THREADS < prompts.txt
//
// A line of input is a prompt as token ids separated by spaces. Compile against a llama.cpp build B of sources L:
//   g++ -O2 -std=c++17 -fopenmp -I L/include -I L/ggml/include llama_greedy.cpp -o llama_greedy \
//       B/src/libllama.a B/ggml/src/libggml.a B/ggml/src/libggml-cpu.a B/ggml/src/libggml-base.a -lpthread -ldl
#include "llama.h"
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

int main(int argc, char ** argv) {
    if (argc != 4) return 1;
    const int n = atoi(argv[2]), threads = atoi(argv[3]);
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    llama_model_params load = llama_model_default_params();
    // No repacked weights: they go through other kernels (on some processors AMX), with other roundings.
    load.use_extra_bufts = false;
    load.progress_callback = [](float, void *) { return true; };
    llama_model * model = llama_model_load_from_file(argv[1], load);
    if (!model) return 1;
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const int n_vocab = llama_vocab_n_tokens(vocab);

    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        std::vector<llama_token> prompt;
        for (llama_token t; in >> t;) prompt.push_back(t);

        llama_context_params params = llama_context_default_params();
        params.n_ctx = prompt.size() + n;
        params.n_batch = params.n_ubatch = prompt.size();
        params.n_threads = params.n_threads_batch = threads;
        // The cache in f32, so that the weights' types are the only rounding.
        params.type_k = params.type_v = GGML_TYPE_F32;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        llama_context * ctx = llama_init_from_model(model, params);
        if (!ctx) return 1;

        printf("[");
        llama_batch batch = llama_batch_get_one(prompt.data(), prompt.size());
        llama_token next = 0;
        for (int i = 0; i < n; ++i) {
            if (llama_decode(ctx, batch)) return 1;
            const float * logits = llama_get_logits_ith(ctx, -1);
            int best = 0, second = 1;
            if (logits[second] > logits[best]) std::swap(best, second);
            for (int t = 2; t < n_vocab; ++t) {
                if (logits[t] > logits[best]) { second = best; best = t; }
                else if (logits[t] > logits[second]) second = t;
            }
            printf("%s[%d,%.6f,%d,%.6f]", i ? "," : "", best, logits[best], second, logits[second]);
            next = best;
            if (llama_vocab_is_eog(vocab, next)) break;
            batch = llama_batch_get_one(&next, 1);
        }
        printf("]\n");
        fflush(stdout);
        llama_free(ctx);
    }
    llama_model_free(model);
}
