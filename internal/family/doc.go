// Package family knows the Hugging Face families of decoders: what their config.json says and what their tensors are
// called. It computes nothing and knows no weights.
package family
