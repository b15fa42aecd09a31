// The ARS element-wise ops on CUDA: checks, grouping of a call's tensors by dtype, allocation, registration.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "../common/cuda.h"
#include "../common/tensor_lists.h"
#include "ars_moments_checks.h"
#include "ars_moments_kernel.cuh"

namespace arsbench {
namespace {

using ars_moments_cuda::Dtype;
using at::Tensor;
using at::TensorList;

// A call runs on the GPU of its first tensor.
at::Device gpu_of(const char* op, TensorList tensors) {
  const at::Device device = device_of(tensors);
  TORCH_CHECK_VALUE(tensors.empty() || device.is_cuda(), op, ": all tensors must be on one GPU");
  return device;
}

// The reason why the kernels cannot take a call, or null.
const char* hindrance(TensorList tensors) {
  if (tensors.empty()) return nullptr;
  if (!is_ampere_or_later(tensors[0])) return "GPUs before compute capability 8.0";
  for (const Tensor& tensor : tensors)
    if (tensor.scalar_type() == at::kDouble) return "float64";
  return nullptr;
}

// The tensors of a call that share the dtypes of its first two lists, in the form that kernels take.
template <int kLists>
struct Group {
  at::ScalarType first, second;
  std::vector<int64_t> numels;
  std::vector<int32_t> indices;
  std::array<std::vector<void*>, kLists> addresses;

  static Dtype kind(at::ScalarType dtype) {
    return dtype == at::kBFloat16 ? Dtype::bfloat16 : Dtype::float32;
  }
  Dtype dtype() const { return kind(first); }
  Dtype second_dtype() const { return kind(second); }

  multi_tensor::Lists<kLists> lists() const {
    multi_tensor::Lists<kLists> lists{numels.size(), numels.data(), indices.data(), {}};
    for (int list = 0; list < kLists; ++list) lists.addresses[list] = addresses[list].data();
    return lists;
  }
};

// An omitted list is empty, and its addresses are null.
template <int kLists>
std::vector<Group<kLists>> groups_of(const std::array<const ContiguousList*, kLists>& lists) {
  std::vector<Group<kLists>> groups;
  for (size_t i = 0; i < lists[0]->size(); ++i) {
    const at::ScalarType first = lists[0]->dtype(i), second = lists[1]->dtype(i);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group<kLists>& candidate) {
      return candidate.first == first && candidate.second == second;
    });
    if (group == groups.end()) group = groups.insert(group, Group<kLists>{first, second});
    group->numels.push_back(lists[0]->numel(i));
    group->indices.push_back(static_cast<int32_t>(i));
    for (int list = 0; list < kLists; ++list)
      group->addresses[list].push_back(lists[list]->template at<char>(i, 0));
  }
  return groups;
}

// float64 numbers on the GPU of `like`: rows per tensor, or space for the sums of chunks.
class Numbers {
 public:
  Numbers(const Tensor& like, at::IntArrayRef shape)
      : tensor(at::empty(shape, like.options().dtype(at::kDouble))) {}

  template <int kLists>
  static Numbers partials(const Tensor& like, const Group<kLists>& group, int64_t sums) {
    return Numbers(like, {multi_tensor::chunks_in(group.numels.size(), group.numels.data()) * sums});
  }

  double* data() const { return tensor.data_ptr<double>(); }

  Tensor tensor;
};

int64_t length(TensorList tensors) { return static_cast<int64_t>(tensors.size()); }

Tensor contiguous(const Tensor& scalars) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  return scalars.contiguous();
}

void ars_perturb(TensorList params, TensorList grads, TensorList exp_avg_sqs, TensorList backups, double rho,
                 double beta2, double eps, int64_t step, bool adaptive) {
  check_perturb(params, grads, exp_avg_sqs, backups, gpu_of("ars_perturb", params));
  if (params.empty()) return;
  if (const char* why = hindrance(params))
    return call_reference<decltype(ars_perturb)>("ars_perturb", why, params, grads, exp_avg_sqs, backups, rho,
                                                 beta2, eps, step, adaptive);
  const c10::cuda::CUDAGuard guard(params[0].device());
  const auto stream = at::cuda::getCurrentCUDAStream();
  const ContiguousList p(params), g(grads), v(exp_avg_sqs), backup(backups);
  const Numbers factors(params[0], {length(params)});
  for (const auto& group : groups_of<4>({&p, &g, &v, &backup}))
    ars_moments_cuda::perturb(group.dtype(), group.lists(), rho, beta2, eps, step, adaptive,
                              Numbers::partials(params[0], group, 1).data(), factors.data(), stream);
  p.write_back(params);
  backup.write_back(backups);
}

void ars_restore(TensorList params, TensorList backups) {
  check_restore(params, backups, gpu_of("ars_restore", params));
  if (params.empty()) return;
  if (const char* why = hindrance(params))
    return call_reference<decltype(ars_restore)>("ars_restore", why, params, backups);
  const c10::cuda::CUDAGuard guard(params[0].device());
  const ContiguousList p(params), backup(backups);
  for (const auto& group : groups_of<2>({&p, &backup}))
    ars_moments_cuda::restore(group.dtype(), group.lists(), at::cuda::getCurrentCUDAStream());
  p.write_back(params);
}

Tensor ars_dots(TensorList grads, TensorList others) {
  check_dots(grads, others, gpu_of("ars_dots", grads));
  if (const char* why = hindrance(grads))
    return call_reference<decltype(ars_dots)>("ars_dots", why, grads, others);
  const c10::cuda::CUDAGuard guard(grads[0].device());
  const ContiguousList x(grads), y(others);
  const Numbers rows(grads[0], {length(grads), 3});
  for (const auto& group : groups_of<2>({&x, &y}))
    ars_moments_cuda::dots(group.dtype(), group.second_dtype(), group.lists(),
                           Numbers::partials(grads[0], group, 3).data(), rows.data(),
                           at::cuda::getCurrentCUDAStream());
  return rows.tensor;
}

void ars_residual(TensorList grads, TensorList base_grads, TensorList residuals) {
  check_residual(grads, base_grads, residuals, gpu_of("ars_residual", grads));
  if (grads.empty()) return;
  if (const char* why = hindrance(grads))
    return call_reference<decltype(ars_residual)>("ars_residual", why, grads, base_grads, residuals);
  const c10::cuda::CUDAGuard guard(grads[0].device());
  const ContiguousList x(grads), y(base_grads), out(residuals);
  const Numbers factors(grads[0], {length(grads)});
  for (const auto& group : groups_of<3>({&x, &y, &out}))
    ars_moments_cuda::residual(group.dtype(), group.lists(), Numbers::partials(grads[0], group, 2).data(),
                               factors.data(), at::cuda::getCurrentCUDAStream());
  out.write_back(residuals);
}

std::tuple<Tensor, Tensor> ars_whiten(TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs,
                                      TensorList directions, TensorList flats,
                                      const std::optional<Tensor>& strengths, double beta1, double beta2,
                                      double eps, int64_t step, std::string_view second_moment) {
  const SecondMoment choice = second_moment_named("ars_whiten", second_moment);
  check_moments("ars_whiten", grads, exp_avgs, exp_avg_sqs, flats, strengths, step,
                gpu_of("ars_whiten", grads));
  check_like("ars_whiten", "directions", directions, grads, true);
  check_writable(directions);
  if (grads.empty()) return {strengths->new_empty({0}), strengths->new_empty({0})};
  if (const char* why = hindrance(grads))
    return call_reference<decltype(ars_whiten)>("ars_whiten", why, grads, exp_avgs, exp_avg_sqs, directions,
                                                flats, strengths, beta1, beta2, eps, step, second_moment);
  const c10::cuda::CUDAGuard guard(grads[0].device());
  const ContiguousList g(grads), m(exp_avgs), v(exp_avg_sqs), s(directions), f(flats);
  const Tensor strength = strengths.has_value() ? contiguous(*strengths) : Tensor();
  const auto injection = ars_moments_cuda::injection_of(
      beta1, beta2, eps, step, choice, strength.defined() ? strength.data_ptr<double>() : nullptr);
  const Numbers energies(grads[0], {length(grads)}), grad_norms(grads[0], {length(grads)});
  for (const auto& group : groups_of<5>({&g, &m, &v, &s, &f}))
    ars_moments_cuda::whiten(group.dtype(), group.lists(), injection,
                             Numbers::partials(grads[0], group, 2).data(), energies.data(), grad_norms.data(),
                             at::cuda::getCurrentCUDAStream());
  m.write_back(exp_avgs);
  v.write_back(exp_avg_sqs);
  s.write_back(directions);
  return {energies.tensor, grad_norms.tensor};
}

Tensor ars_adamw(TensorList params, TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs,
                 TensorList flats, const std::optional<Tensor>& strengths, double lr, double beta1,
                 double beta2, double eps, double weight_decay, int64_t step,
                 std::string_view second_moment) {
  const SecondMoment choice = second_moment_named("ars_adamw", second_moment);
  check_moments("ars_adamw", grads, exp_avgs, exp_avg_sqs, flats, strengths, step,
                gpu_of("ars_adamw", grads));
  check_like("ars_adamw", "params", params, grads, false);
  check_writable(params);
  if (grads.empty()) return strengths->new_empty({0});
  if (const char* why = hindrance(grads))
    return call_reference<decltype(ars_adamw)>("ars_adamw", why, params, grads, exp_avgs, exp_avg_sqs, flats,
                                               strengths, lr, beta1, beta2, eps, weight_decay, step,
                                               second_moment);
  const c10::cuda::CUDAGuard guard(grads[0].device());
  const ContiguousList p(params), g(grads), m(exp_avgs), v(exp_avg_sqs), f(flats);
  const Tensor strength = strengths.has_value() ? contiguous(*strengths) : Tensor();
  const auto injection = ars_moments_cuda::injection_of(
      beta1, beta2, eps, step, choice, strength.defined() ? strength.data_ptr<double>() : nullptr);
  const Numbers grad_norms(grads[0], {length(grads)});
  for (const auto& group : groups_of<5>({&p, &g, &m, &v, &f}))
    ars_moments_cuda::adamw(group.dtype(), group.lists(), injection, lr, weight_decay,
                            Numbers::partials(grads[0], group, 1).data(), grad_norms.data(),
                            at::cuda::getCurrentCUDAStream());
  p.write_back(params);
  m.write_back(exp_avgs);
  v.write_back(exp_avg_sqs);
  return grad_norms.tensor;
}

void ars_apply(TensorList params, TensorList directions, const Tensor& scales, double lr,
               double weight_decay) {
  check_apply(params, directions, scales, gpu_of("ars_apply", params));
  if (params.empty()) return;
  if (const char* why = hindrance(params))
    return call_reference<decltype(ars_apply)>("ars_apply", why, params, directions, scales, lr,
                                               weight_decay);
  const c10::cuda::CUDAGuard guard(params[0].device());
  const ContiguousList p(params), o(directions);
  const Tensor scale = contiguous(scales);
  for (const auto& group : groups_of<2>({&p, &o}))
    ars_moments_cuda::apply(group.dtype(), group.lists(), lr, weight_decay, scale.data_ptr<double>(),
                            at::cuda::getCurrentCUDAStream());
  p.write_back(params);
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CUDA, library) {
  library.impl("ars_perturb", ars_perturb);
  library.impl("ars_restore", ars_restore);
  library.impl("ars_dots", ars_dots);
  library.impl("ars_residual", ars_residual);
  library.impl("ars_whiten", ars_whiten);
  library.impl("ars_adamw", ars_adamw);
  library.impl("ars_apply", ars_apply);
}

}  // namespace arsbench
