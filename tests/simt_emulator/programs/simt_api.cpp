// C entry points of the kernels that test the emulator.
#include <cstring>

#include "api.h"
#include "simt_failures.h"
#include "simt_layout.h"
#include "simt_primitives.h"

namespace {

template <class T>
T* as(void* address) {
  return static_cast<T*>(address);
}

}  // namespace

SIMT_API const char* simt_indices(void* out, int64_t grid_x, int64_t grid_y, int64_t grid_z, int64_t block_x,
                                  int64_t block_y, int64_t block_z) {
  const auto extent = [](int64_t x, int64_t y, int64_t z) {
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
  };
  return reported([&] {
    simt::launch(indices, extent(grid_x, grid_y, grid_z), extent(block_x, block_y, block_z), 0, nullptr,
                 as<int>(out));
  });
}

SIMT_API const char* simt_turns(void* turn, void* counters, int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(turns, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(turn), as<int>(counters));
  });
}

SIMT_API const char* simt_uninitialised(void* bf16, void* single, void* real, void* integer, void* dynamic) {
  return reported([&] {
    simt::launch(uninitialised, 1, 1, 3 * sizeof(float), nullptr, as<__nv_bfloat16>(bf16), as<float>(single),
                 as<double>(real), as<int>(integer), as<float>(dynamic));
  });
}

SIMT_API const char* simt_arrays(void* out, int64_t threads) {
  return reported([&] {
    simt::launch(arrays, 1, static_cast<unsigned>(threads), 5 * sizeof(int), nullptr, as<int>(out));
  });
}

SIMT_API const char* simt_block_sums(void* in, void* out, int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(block_sums, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(in), as<int>(out));
  });
}

SIMT_API const char* simt_fill_shared(void* out, int64_t bytes) {
  return reported([&] {
    simt::launch(fill_shared, 1, 64, static_cast<size_t>(bytes), nullptr, as<int>(out),
                 static_cast<int>(bytes));
  });
}

SIMT_API const char* simt_shuffles(void* in, void* out, int64_t bytes, int64_t kind, int64_t amount,
                                   int64_t width) {
  const auto run = [&]<class T>(T* from) {
    simt::launch(shuffles<T>, 1, 32, 0, nullptr, from, as<T>(out), static_cast<int>(kind),
                 static_cast<int>(amount), static_cast<int>(width));
  };
  return reported([&] {
    if (bytes == 2) run(as<__nv_bfloat16>(in));
    if (bytes == 4) run(as<float>(in));
    if (bytes == 8) run(as<double>(in));
  });
}

SIMT_API const char* simt_half_warps(void* out) {
  return reported([&] { simt::launch(half_warps, 1, 32, 0, nullptr, as<int>(out)); });
}

SIMT_API const char* simt_votes(void* predicate, void* out) {
  return reported([&] { simt::launch(votes, 1, 32, 0, nullptr, as<int>(predicate), as<unsigned>(out)); });
}

SIMT_API const char* simt_neighbours(void* out) {
  return reported([&] { simt::launch(neighbours, 1, 64, 0, nullptr, as<int>(out)); });
}

SIMT_API const char* simt_atomics(void* integers, void* counter, void* single, void* real, void* wide,
                                  int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(atomics, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(integers), as<unsigned>(counter), as<float>(single), as<double>(real),
                 as<unsigned long long>(wide));
  });
}

SIMT_API const char* simt_last_block(void* partial, void* arrived, void* out, int64_t blocks) {
  return reported([&] {
    simt::launch(last_block, static_cast<unsigned>(blocks), 1, 0, nullptr, as<int>(partial),
                 as<unsigned>(arrived), as<int>(out));
  });
}

SIMT_API const char* simt_functions(void* in, void* out, int64_t count) {
  return reported([&] {
    simt::launch(functions, static_cast<unsigned>(count + 31) / 32, 32, 0, nullptr, as<float>(in),
                 as<float>(out), static_cast<int>(count));
  });
}

SIMT_API const char* simt_integer_functions(void* in, void* out, int64_t count) {
  return reported([&] {
    simt::launch(integer_functions, 1, 64, 0, nullptr, as<int>(in), as<int>(out), static_cast<int>(count));
  });
}

SIMT_API const char* simt_round_to_bfloat16(void* in, void* out, void* back, int64_t count) {
  return reported([&] {
    simt::launch(round_to_bfloat16, static_cast<unsigned>(count / 2 + 255) / 256, 256, 0, nullptr,
                 as<float>(in), as<__nv_bfloat16>(out), as<float>(back), static_cast<int>(count));
  });
}

SIMT_API const char* simt_copies(void* in, void* out) {
  return reported([&] { simt::launch(copies, 1, 1, 0, nullptr, as<float>(in), as<float>(out)); });
}

// Returns in `out` the increase of simt::stats(): barriers, collectives, bank conflicts.
SIMT_API const char* simt_statistics(void* out, int64_t stride) {
  return reported([&] {
    auto& stats = simt::stats();
    const uint64_t before[3] = {stats.barriers, stats.collectives, stats.bank_conflicts};
    simt::launch(matrix_rows, 2, 32, 32 * 256, nullptr, static_cast<int>(stride));
    const uint64_t after[3] = {stats.barriers, stats.collectives, stats.bank_conflicts};
    for (int i = 0; i < 3; i++) as<int64_t>(out)[i] = static_cast<int64_t>(after[i] - before[i]);
  });
}

SIMT_API const char* simt_configuration(void* out) {
  return reported([&] {
    const auto& config = simt::config();
    const int64_t values[] = {config.seed, config.threads, config.cp_async, config.poison};
    std::memcpy(out, values, sizeof values);
  });
}

SIMT_API const char* simt_mma_layout(void* mismatches) {
  return reported([&] { simt::launch(mma_layout, 1, 32, 0, nullptr, as<int>(mismatches)); });
}

SIMT_API const char* simt_mma_tf32_layout(void* mismatches) {
  return reported([&] { simt::launch(mma_tf32_layout, 1, 32, 0, nullptr, as<int>(mismatches)); });
}

SIMT_API const char* simt_round_tf32(void* values, int64_t count) {
  return reported([&] {
    for (float* x = as<float>(values); x != as<float>(values) + count; x++)
      *x = __uint_as_float(ptx::round_tf32(*x));
  });
}

SIMT_API const char* simt_ldmatrix_layout(void* mismatches) {
  return reported([&] { simt::launch(ldmatrix_layout, 1, 32, 0, nullptr, as<int>(mismatches)); });
}

// The thread (1,2,0) of block (1,0,0) fails in the way that `kind` names. `alive`: objects that were not
// destroyed.
SIMT_API const char* simt_failure(void* kind, void* alive) {
  objects = 0;
  const char* error =
      reported([&] { simt::launch(failing, dim3(3), dim3(16, 4), 1024, nullptr, as<const char>(kind)); });
  *as<int64_t>(alive) = objects;
  return error;
}

SIMT_API const char* simt_launch(int64_t grid_x, int64_t grid_y, int64_t block_x, int64_t block_z,
                                 int64_t shared_bytes) {
  return reported([&] {
    simt::launch(nothing, dim3(static_cast<unsigned>(grid_x), static_cast<unsigned>(grid_y)),
                 dim3(static_cast<unsigned>(block_x), 1, static_cast<unsigned>(block_z)),
                 static_cast<size_t>(shared_bytes), nullptr);
  });
}
