// Decodes with llama.cpp on request: the other side of bench/decode.
//
//	llama quantize MODEL OUTPUT FORMAT            // FORMAT is a number of enum llama_ftype
//	llama decode MODEL LIBRARIES THREADS STREAMS CACHE
//
// decode reads one line for each run, "PROMPT TOKENS", and answers with wall seconds, processor seconds and the tokens of
// all streams. Stream s reads the prompt of ids (7919·s + 104729·i) mod vocabulary; each step takes the likeliest
// token. Reading the prompts is not timed.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-backend.h"
#include "llama.h"

static double now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *why) {
	fprintf(stderr, "llama: %s\n", why);
	exit(1);
}

static void quiet(enum ggml_log_level level, const char *text, void *data) {
	if (level >= GGML_LOG_LEVEL_ERROR && level != GGML_LOG_LEVEL_CONT) fputs(text, stderr);
}

static int likeliest(const float *logits, int n) {
	int best = 0;
	for (int i = 1; i < n; i++)
		if (logits[i] > logits[best]) best = i;
	return best;
}

static void add(struct llama_batch *b, int token, int pos, int stream, int want) {
	b->token[b->n_tokens] = token;
	b->pos[b->n_tokens] = pos;
	b->n_seq_id[b->n_tokens] = 1;
	b->seq_id[b->n_tokens][0] = stream;
	b->logits[b->n_tokens++] = want;
}

int main(int argc, char **argv) {
	llama_log_set(quiet, NULL);
	if (argc == 5 && !strcmp(argv[1], "quantize")) {
		llama_model_quantize_params q = llama_model_quantize_default_params();
		q.ftype = atoi(argv[4]);
		q.pure = true;
		if (llama_model_quantize(argv[2], argv[3], &q)) die("cannot quantize");
		return 0;
	}
	if (argc != 7) die("want quantize MODEL OUTPUT FORMAT, or decode MODEL LIBRARIES THREADS STREAMS CACHE");
	argv++;
	int threads = atoi(argv[3]), streams = atoi(argv[4]);
	ggml_backend_load_all_from_path(argv[2]);
	llama_backend_init();
	struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
	if (!model) die("cannot load the model");
	int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
	struct llama_context_params p = llama_context_default_params();
	p.n_ctx = streams * 256;
	p.n_batch = p.n_ubatch = 512;
	p.n_seq_max = streams;
	p.n_threads = p.n_threads_batch = threads;
	if (!strcmp(argv[5], "f32")) p.type_k = p.type_v = GGML_TYPE_F32;
	struct llama_context *ctx = llama_init_from_model(model, p);
	if (!ctx) die("cannot make a context");
	struct llama_batch b = llama_batch_init(512, 0, 1);
	printf("ready\n");
	fflush(stdout);

	int prompt, tokens;
	while (scanf("%d %d", &prompt, &tokens) == 2) {
		int *next = calloc(streams, sizeof *next), *out = calloc((size_t)streams * tokens, sizeof *out);
		llama_memory_clear(llama_get_memory(ctx), true);
		for (int s = 0; s < streams; s++) {
			b.n_tokens = 0;
			for (int i = 0; i < prompt; i++)
				add(&b, (7919LL * s + 104729LL * i) % vocab, i, s, i == prompt - 1);
			if (llama_decode(ctx, b)) die("cannot read the prompt");
			next[s] = likeliest(llama_get_logits_ith(ctx, prompt - 1), vocab);
		}
		double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		for (int t = 0; t < tokens; t++) {
			b.n_tokens = 0;
			for (int s = 0; s < streams; s++) {
				out[s * tokens + t] = next[s];
				add(&b, next[s], prompt + t, s, 1);
			}
			if (llama_decode(ctx, b)) die("cannot decode");
			for (int s = 0; s < streams; s++) next[s] = likeliest(llama_get_logits_ith(ctx, s), vocab);
		}
		printf("%.6f %.6f", now(CLOCK_MONOTONIC) - wall, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
		for (int i = 0; i < streams * tokens; i++) printf(" %d", out[i]);
		printf("\n");
		fflush(stdout);
		free(next);
		free(out);
	}
	return 0;
}
