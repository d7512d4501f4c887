package graph

// gather takes rows of w (V, C) by ids (N, 1).
func (b *builder) gather(w, ids value) value {
	return b.op("gather", "dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], "+
		"start_index_map = [0], index_vector_dim = 1>, slice_sizes = "+array(1, w.Dims[1]), w.Type,
		[]int{ids.Dims[0], w.Dims[1]}, w, ids)
}

// scatter adds the rows of x (N, C) to those of z (V, C) that ids (N, 1) name. No id comes twice. One that is not a row
// of z is left out.
func (b *builder) scatter(z, ids, x value) value { return b.rows(combining("add", F32), z, ids, x) }

// overwrite is scatter, but puts the rows of x in place of those of z.
func (b *builder) overwrite(z, ids, x value) value {
	return b.rows(" ({\n  ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n    stablehlo.return %b : tensor<f32>\n  })", z, ids,
		x)
}

// rows combines rows of z with rows of x.
func (b *builder) rows(body string, z, ids, x value) value {
	return b.opWith(body, "scatter", "scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], "+
		"inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>, unique_indices = true",
		z.Type, z.Dims, z, ids, x)
}
