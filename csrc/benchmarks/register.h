// One function for each family of benchmarks; main() calls them in this order.
#pragma once

namespace convolite::benchmarks {

void register_gemm();
void register_conv2d();

}  // namespace convolite::benchmarks
