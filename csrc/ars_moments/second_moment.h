// The gradient that the second moment sees when a flatness vector is injected. `ars_whiten` in
// arsbench/ops/ars_moments.py explains the choices.
#pragma once

namespace arsbench {

enum class SecondMoment { plain, bounded, injected };

}  // namespace arsbench
