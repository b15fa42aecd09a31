// C entry points of ars_moments' kernels. A list of n tensors is an array of n addresses; bfloat16 is 0 or 1,
// second_moment the number of the choice.
#include <numeric>
#include <vector>

#include "api.h"
#include "ars_moments/ars_moments_kernel.cuh"

namespace {

using namespace arsbench::ars_moments_cuda;
using arsbench::SecondMoment;
using arsbench::multi_tensor::chunks_in;

Dtype dtype_of(int64_t bfloat16) { return bfloat16 ? Dtype::bfloat16 : Dtype::float32; }

// The lists, and space for results. It is filled with NaN, which shows numbers that a kernel does not write.
template <int kLists>
struct Call {
  std::vector<int32_t> indices;
  Lists<kLists> lists;
  std::vector<double> partials, factors;

  template <class... Addresses>
  Call(int64_t n, const void* numels, Addresses... addresses)
      : indices(n),
        lists{static_cast<size_t>(n),
              static_cast<const int64_t*>(numels),
              indices.data(),
              {static_cast<void* const*>(addresses)...}},
        partials(3 * chunks_in(n, lists.numels), NAN),
        factors(n, NAN) {
    std::iota(indices.begin(), indices.end(), 0);
  }
};

}  // namespace

SIMT_API const char* ars_perturb(int64_t bfloat16, int64_t n, void* numels, void* params, void* grads,
                                 void* exp_avg_sqs, void* backups, double rho, double beta2, double eps,
                                 int64_t step, int64_t adaptive) {
  return reported([&] {
    Call<4> call(n, numels, params, grads, exp_avg_sqs, backups);
    perturb(dtype_of(bfloat16), call.lists, rho, beta2, eps, step, adaptive != 0, call.partials.data(),
            call.factors.data(), nullptr);
  });
}

SIMT_API const char* ars_restore(int64_t bfloat16, int64_t n, void* numels, void* params, void* backups) {
  return reported([&] {
    Call<2> call(n, numels, params, backups);
    restore(dtype_of(bfloat16), call.lists, nullptr);
  });
}

SIMT_API const char* ars_dots(int64_t bfloat16, int64_t bfloat16_others, int64_t n, void* numels, void* grads,
                              void* others, void* rows) {
  return reported([&] {
    Call<2> call(n, numels, grads, others);
    dots(dtype_of(bfloat16), dtype_of(bfloat16_others), call.lists, call.partials.data(),
         static_cast<double*>(rows), nullptr);
  });
}

SIMT_API const char* ars_residual(int64_t bfloat16, int64_t n, void* numels, void* grads, void* base_grads,
                                  void* residuals) {
  return reported([&] {
    Call<3> call(n, numels, grads, base_grads, residuals);
    residual(dtype_of(bfloat16), call.lists, call.partials.data(), call.factors.data(), nullptr);
  });
}

SIMT_API const char* ars_whiten(int64_t bfloat16, int64_t n, void* numels, void* grads, void* exp_avgs,
                                void* exp_avg_sqs, void* directions, void* flats, void* strengths,
                                double beta1, double beta2, double eps, int64_t step, int64_t second_moment,
                                void* energies, void* grad_norms) {
  return reported([&] {
    Call<5> call(n, numels, grads, exp_avgs, exp_avg_sqs, directions, flats);
    const Injection injection =
        injection_of(beta1, beta2, eps, step, static_cast<SecondMoment>(second_moment),
                     static_cast<const double*>(strengths));
    whiten(dtype_of(bfloat16), call.lists, injection, call.partials.data(), static_cast<double*>(energies),
           static_cast<double*>(grad_norms), nullptr);
  });
}

SIMT_API const char* ars_adamw(int64_t bfloat16, int64_t n, void* numels, void* params, void* grads,
                               void* exp_avgs, void* exp_avg_sqs, void* flats, void* strengths, double lr,
                               double beta1, double beta2, double eps, double weight_decay, int64_t step,
                               int64_t second_moment, void* grad_norms) {
  return reported([&] {
    Call<5> call(n, numels, params, grads, exp_avgs, exp_avg_sqs, flats);
    const Injection injection =
        injection_of(beta1, beta2, eps, step, static_cast<SecondMoment>(second_moment),
                     static_cast<const double*>(strengths));
    adamw(dtype_of(bfloat16), call.lists, injection, lr, weight_decay, call.partials.data(),
          static_cast<double*>(grad_norms), nullptr);
  });
}

SIMT_API const char* ars_apply(int64_t bfloat16, int64_t n, void* numels, void* params, void* directions,
                               void* scales, double lr, double weight_decay) {
  return reported([&] {
    Call<2> call(n, numels, params, directions);
    apply(dtype_of(bfloat16), call.lists, lr, weight_decay, static_cast<const double*>(scales), nullptr);
  });
}
