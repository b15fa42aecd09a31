// Which gradient the second moment sees where a flatness vector is injected. The choices are explained at
// `ars_whiten` in arsbench/ops/ars_moments.py.
#pragma once

namespace arsbench {

enum class SecondMoment { plain, bounded, injected };

}  // namespace arsbench
