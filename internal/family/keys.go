package family

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// inert are keys that do not change what the model computes: names and versions; how it is trained, sampled, stored or
// returned; heads for other tasks.
var inert = strings.Fields(`
	_name_or_path _model_name_or_path _commit_hash _attn_implementation _attn_implementation_autoset attn_implementation
	_flash_attn_2_enabled use_flash_attn use_flash_attention transformers_version transformers.js_config
	unsloth_version unsloth_fixed model_name description license language tags
	dtype torch_dtype use_cache initializer_range initializer_factor init_std rescale_every gradient_checkpointing
	bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id cls_token_id mask_token_id
	decoder_start_token_id tokenizer_class model_max_length padding_side
	task_specific_params problem_type id2label label2id _num_labels num_labels finetuning_task prefix
	attention_dropout hidden_dropout residual_dropout embedding_dropout resid_dropout
	embed_dropout dropout classifier_dropout
	hidden_dropout_prob attention_probs_dropout_prob embd_pdrop attn_pdrop resid_pdrop layerdrop
	neftune_noise_alpha reorder_and_upcast_attn n_ctx max_window_layers sliding_window
	summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
	output_attentions output_hidden_states output_scores return_dict return_dict_in_generate output_past
	chunk_size_feed_forward use_bfloat16 torchscript tf_legacy_loss is_llama_config
	max_length min_length do_sample early_stopping num_beams num_beam_groups num_return_sequences diversity_penalty
	temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
	encoder_no_repeat_ngram_size bad_words_ids forced_bos_token_id forced_eos_token_id
	remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens`)

// onSwitches are switches of others that change something when they are off.
var onSwitches = strings.Fields(`is_causal causal use_causal_mask use_rope use_rotary use_rotary_embeddings`)

// factors are names of numbers for which 0 does not mean off.
var factors = regexp.MustCompile(`(?i)(scal|factor|multiplier|theta|eps|norm|alpha|beta|base|_id$|_ids$|index)`)

// Off reports whether a value switches nothing on, whatever its key: false, null, nothing, or 0 where that is no
// factor. The library ignores such keys too.
func Off(key string, value []byte) bool {
	if slices.Contains([]string{"false", "null", `""`, "[]", "{}"}, strings.Join(strings.Fields(string(value)), "")) {
		return true
	}
	x, err := strconv.ParseFloat(string(value), 64)
	return err == nil && x == 0 && !factors.MatchString(key)
}
