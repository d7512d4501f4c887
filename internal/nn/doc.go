// Package nn holds the layers of a decoder: one file each, the forward pass beside its backward pass.
//
// A layer is a struct of sizes with a Forward and a Backward; it owns no parameters and no saved values, so one
// struct serves every block of a model. Arguments come in the order destinations, saved values, inputs, weights,
// number of positions. A prefix d is the gradient of the loss. "Adds to" and "overwrites" are always said.
//
// Legend of shapes, row-major and outermost first:
//
//	N   positions of a call: sequences lie end to end, there is no padding
//	S   spans (sequences) of a call; span s holds positions bounds[s] to bounds[s+1]
//	C   channels of the residual stream
//	H   query heads; KV key and value heads; D channels of one head
//	QKV = (H+2·KV)·D, one row of queries, keys and values as one multiply makes them
//	F   channels of the hidden layer of the MLP
//	V   vocabulary
//
// Every layer is generic over float32, which runs on the kernels of the chosen tier, and float64, the twin for
// gradient checks. A buffer that enters or leaves a multiply is a kernel.Mat; everything else is a flat slice. A row of
// such a matrix is in full precision or bfloat16, and a layer need not know which: the functions of package
// fused widen and round a row at a time, in a Stage, and the arithmetic is float32 in either case. Attention and
// Attention16 are apart because they multiply in another order.
//
// A layer that sees one position at a time embeds rows, which runs its method row over the positions of a call;
// attention embeds spans, which runs it over blocks of queries or over heads.
//
// Numerics: ordered. Each output element is computed by one worker in one order; sums over positions are made of
// blocks of fixed size, added in block order. The bits do not depend on the number of workers, nor those of a
// position on what else is in the call. Non-finite values are never masked: they reach the loss and the gradients.
//
// A layer keeps the operands of the call in progress, so that nothing is allocated per call: it is not safe for
// concurrent use. There is no Tensor type, no Layer interface and no autograd. Wrong shapes panic.
package nn
