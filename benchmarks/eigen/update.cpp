// One KL-constrained linear-Gaussian controller update: the compiled reference of the benchmarks.
//
// Minimise    E_p[sum_t l(x, u)] - alpha sum_t E[H(p(u|x))]
// subject to  sum_t E KL(p(.|x) || pbar(.|x)) <= bound.
//
// For a given eta the Lagrangian divided by (eta + alpha) is a maximum-entropy LQR problem. The recursions
// below omit that division (K and k do not depend on it) and restore it in Sigma = (eta + alpha) Quu^-1.
// Both recursions and the search over eta run here, on one thread, without an allocation inside a loop over
// time.
//
// Every array is a row-major double array; dz = dx + du; the dynamics have T - 1 rows. The two small sizes of
// the benchmark tables are compiled with fixed sizes (as a compiler that sees the shapes would), all others
// with dynamic ones: at (26, 7) and (40, 10) fixed sizes gain at most a tenth and take minutes to compile.

#include <Eigen/Dense>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace {

using Eigen::Dynamic;
using Eigen::Index;

template <int Rows, int Cols>
using Mat = Eigen::Matrix<double, Rows, Cols, Eigen::RowMajor>;
template <int Rows>
using Vec = Eigen::Matrix<double, Rows, 1>;
template <int Rows, int Cols>
using In = Eigen::Map<const Mat<Rows, Cols>>;
template <int Rows>
using InVec = Eigen::Map<const Vec<Rows>>;
template <int Rows, int Cols>
using Out = Eigen::Map<Mat<Rows, Cols>>;
template <int Rows>
using OutVec = Eigen::Map<Vec<Rows>>;

constexpr int sum_or_dynamic(int a, int b) { return a == Dynamic || b == Dynamic ? Dynamic : a + b; }

enum Status : int { kConverged = 0, kInactive = 1, kExhausted = 2, kInfeasible = 3 };

// The constants of the search; benchmarks/numpy_update.py has the same ones.
constexpr double kEtaSmallest = 1e-8;
constexpr double kEtaLargest = 1e16;
// d log KL / d log eta until it is measured: -2 at large eta, -0.1 at small
constexpr double kFirstSlope = -0.7;
constexpr double kLargestStep = 6.907755278982137;  // log(1e3): the largest step in log eta
constexpr int kMostEvaluations = 60;

struct Problem {
  Index T, dx, du;
  const double *F, *c, *W;                // (T-1, dx, dz), (T-1, dx), (T-1, dx, dx)
  const double *initial_mean, *initial_cov;  // (dx,), (dx, dx)
  const double *C, *g;                    // (T, dz, dz), (T, dz)
  const double *K_prev, *k_prev, *Sigma_prev;  // (T, du, dx), (T, du), (T, du, du)
};

struct Controller {
  double *K, *k, *Sigma;  // (T, du, dx), (T, du), (T, du, du)
};

// Compute L = chol(A) in A's lower triangle, and inverse = L^-1 (strict upper triangle zero). False if A is not
// positive definite. Written out because the blocks are small (du rows) and every use of L is then a product.
template <int N, typename Block>
bool cholesky_and_inverse(Block &A, Mat<N, N> &inverse) {
  const Index n = A.rows();
  for (Index j = 0; j < n; ++j) {
    double d = A(j, j);
    for (Index p = 0; p < j; ++p) d -= A(j, p) * A(j, p);
    if (!(d > 0.0) || !std::isfinite(d)) return false;
    const double root = std::sqrt(d), scale = 1.0 / root;
    A(j, j) = root;
    inverse(j, j) = scale;
    for (Index i = j + 1; i < n; ++i) {
      double a = A(i, j);
      for (Index p = 0; p < j; ++p) a -= A(i, p) * A(j, p);
      A(i, j) = a * scale;
    }
  }
  for (Index i = 1; i < n; ++i)  // row i of L^-1 = -(row i of L, left of the diagonal) L^-1 / L_ii
    for (Index j = 0; j < i; ++j) {
      double a = 0.0;
      for (Index p = j; p < i; ++p) a += A(i, p) * inverse(p, j);
      inverse(i, j) = -a * inverse(i, i);
    }
  return true;
}

// Copy the lower triangle of S into its upper one.
template <typename Square>
void mirror(Square &S) {
  const Index n = S.rows();
  for (Index i = 1; i < n; ++i)
    for (Index j = 0; j < i; ++j) S(j, i) = S(i, j);
}

// Compute the lower triangle of S += A B for a sum that is symmetric, in block rows: entries above the diagonal
// blocks are not computed.
template <typename Square, typename Left, typename Right>
void add_symmetric_product(Square &S, const Left &A, const Right &B) {
  const Index n = S.rows();
  constexpr Index kBlock = 8;
  if (n <= kBlock + 4) {
    S.noalias() += A * B;
    return;
  }
  for (Index i = 0; i < n; i += kBlock) {
    const Index rows = std::min(kBlock, n - i);
    S.block(i, 0, rows, i + rows).noalias() += A.middleRows(i, rows) * B.leftCols(i + rows);
  }
}

template <int DX, int DU>
class Update {
  static constexpr int DZ = sum_or_dynamic(DX, DU);
  const Problem p;
  const Index T, dx, du, dz;

  // Terms of -log pbar, computed once per update.
  Eigen::VectorXd P_, H_, h_, diagonal_;  // (T, du, du), (T, dz, dz), (T, dz), (T, du)
  double logdet_prev_ = 0.0;              // sum_t logdet Sbar_t

  // Scratch, sized once.
  Mat<DX, DX> V, M;
  Mat<DZ, DZ> Q;
  Mat<DX, DZ> VF;
  Mat<DU, DU> L, L_inverse;
  Mat<DU, DX> Y, PdK;
  Mat<DZ, DZ> G, GM;  // [[A + BK, B], [dK, .]] and [[(A + BK) M, B Sigma], [dK M, .]]
  Vec<DX> v, w, m, m_next;
  Vec<DZ> q;
  Vec<DU> y, e, Pe, u;

 public:
  explicit Update(const Problem &problem)
      : p(problem), T(problem.T), dx(problem.dx), du(problem.du), dz(problem.dx + problem.du),
        P_(T * du * du), H_(T * dz * dz), h_(T * dz), diagonal_(T * du),
        V(dx, dx), M(dx, dx), Q(dz, dz), VF(dx, dz), L(du, du), L_inverse(du, du), Y(du, dx), PdK(du, dx),
        G(dz, dz), GM(dz, dz), v(dx), w(dx), m(dx), m_next(dx), q(dz), y(du), e(du), Pe(du), u(du) {}

  // Precompute P = Sbar^-1, [[K'PK, -K'P], [-PK, P]], [K'Pk; -Pk] and sum_t logdet Sbar. False if an Sbar is
  // not PD.
  bool prepare() {
    L_inverse.setZero();
    for (Index t = 0; t < T; ++t) {
      L = In<DU, DU>(p.Sigma_prev + t * du * du, du, du);
      if (!cholesky_and_inverse<DU>(L, L_inverse)) return false;
      OutVec<DU>(diagonal_.data() + t * du, du) = L.diagonal();
      In<DU, DX> K(p.K_prev + t * du * dx, du, dx);
      InVec<DU> k(p.k_prev + t * du, du);
      Out<DU, DU> P(P_.data() + t * du * du, du, du);
      Out<DZ, DZ> H(H_.data() + t * dz * dz, dz, dz);
      OutVec<DZ> h(h_.data() + t * dz, dz);
      P.noalias() = L_inverse.transpose() * L_inverse;
      PdK.noalias() = P * K;
      H.topLeftCorner(dx, dx).noalias() = K.transpose() * PdK;
      H.bottomLeftCorner(du, dx) = -PdK;
      H.topRightCorner(dx, du) = -PdK.transpose();
      H.bottomRightCorner(du, du) = P;
      h.head(dx).noalias() = PdK.transpose() * k;
      h.tail(du).noalias() = -(P * k);
    }
    logdet_prev_ = 2.0 * diagonal_.array().log().sum();
    return true;
  }

  // Backward recursion for (l - eta log pbar), entropy weight (eta + alpha). False where a Quu is not PD.
  bool backward(double eta, double alpha, const Controller &out) {
    const double temperature = eta + alpha;
    for (Index t = T - 1; t >= 0; --t) {
      Q = In<DZ, DZ>(p.C + t * dz * dz, dz, dz) + eta * In<DZ, DZ>(H_.data() + t * dz * dz, dz, dz);
      q = InVec<DZ>(p.g + t * dz, dz) + eta * InVec<DZ>(h_.data() + t * dz, dz);
      if (t < T - 1) {
        In<DX, DZ> F(p.F + t * dx * dz, dx, dz);
        VF.noalias() = V * F;
        add_symmetric_product(Q, F.transpose(), VF);
        w = v;
        w.noalias() += V * InVec<DX>(p.c + t * dx, dx);
        q.noalias() += F.transpose() * w;
      }
      L = Q.bottomRightCorner(du, du);
      if (!cholesky_and_inverse<DU>(L, L_inverse)) return false;
      OutVec<DU>(diagonal_.data() + t * du, du) = L.diagonal();
      Out<DU, DX> K(out.K + t * du * dx, du, dx);
      OutVec<DU> k(out.k + t * du, du);
      Out<DU, DU> Sigma(out.Sigma + t * du * du, du, du);
      // Y = L^-1 [Qux, qu]: K = -L^-T Y, V = Qxx - Y'Y, v = qx - Y'y.
      Y.noalias() = L_inverse * Q.bottomLeftCorner(du, dx);
      y.noalias() = L_inverse * q.tail(du);
      K.noalias() = -(L_inverse.transpose() * Y);
      k.noalias() = -(L_inverse.transpose() * y);
      Sigma.noalias() = temperature * (L_inverse.transpose() * L_inverse);
      V = Q.topLeftCorner(dx, dx);
      V.noalias() -= Y.transpose() * Y;
      mirror(V);
      v = q.head(dx);
      v.noalias() -= Y.transpose() * y;
    }
    return true;
  }

  // Forward marginals of x and sum_t E KL(p || pbar), for the controller of the last backward() call.
  double forward(double temperature, const Controller &out) {
    double total = 0.0;
    m = InVec<DX>(p.initial_mean, dx);
    M = In<DX, DX>(p.initial_cov, dx, dx);
    for (Index t = 0; t < T; ++t) {
      In<DU, DX> K(out.K + t * du * dx, du, dx), K_prev(p.K_prev + t * du * dx, du, dx);
      InVec<DU> k(out.k + t * du, du), k_prev(p.k_prev + t * du, du);
      In<DU, DU> Sigma(out.Sigma + t * du * du, du, du), P(P_.data() + t * du * du, du, du);
      auto dK = G.bottomLeftCorner(du, dx);
      auto dKM = GM.bottomLeftCorner(du, dx);
      dK = K - K_prev;
      PdK.noalias() = P * dK;
      u = k;
      u.noalias() += K * m;
      e = u - k_prev;
      e.noalias() -= K_prev * m;
      Pe.noalias() = P * e;
      if (t == T - 1) {
        dKM.noalias() = dK * M;
        total += PdK.cwiseProduct(dKM).sum() + e.dot(Pe) + P.cwiseProduct(Sigma).sum();
        break;
      }
      In<DX, DZ> F(p.F + t * dx * dz, dx, dz);
      auto B = F.rightCols(du);
      auto closed_loop = G.topLeftCorner(dx, dx);
      closed_loop = F.leftCols(dx);
      closed_loop.noalias() += B * K;
      G.topRightCorner(dx, du) = B;
      GM.leftCols(dx).noalias() = G.leftCols(dx) * M;  // [(A + BK) M; dK M] in one product
      GM.topRightCorner(dx, du).noalias() = B * Sigma;
      total += PdK.cwiseProduct(dKM).sum() + e.dot(Pe) + P.cwiseProduct(Sigma).sum();
      M = In<DX, DX>(p.W + t * dx * dx, dx, dx);
      add_symmetric_product(M, GM.topRows(dx), G.topRows(dx).transpose());
      mirror(M);
      m_next = InVec<DX>(p.c + t * dx, dx);
      m_next.noalias() += F.leftCols(dx) * m;
      m_next.noalias() += B * u;
      m.swap(m_next);
    }
    // logdet Sigma = du log(temperature) - 2 sum log diag(chol Quu)
    const double logdet = double(T * du) * std::log(temperature) - 2.0 * diagonal_.array().log().sum();
    return 0.5 * (total - double(T * du) + logdet_prev_ - logdet);
  }

  // KL at eta, with the controller in `out`; infinite if the backward pass finds no maximum-entropy controller.
  double evaluate(double eta, double alpha, const Controller &out) {
    if (!(eta + alpha > 0.0) || !backward(eta, alpha, out)) return std::numeric_limits<double>::infinity();
    const double kl = forward(eta + alpha, out);
    return std::isfinite(kl) ? kl : std::numeric_limits<double>::infinity();
  }

  // Safeguarded secant on (log eta, log KL). `out` always ends with the controller of the returned eta.
  int solve(double bound, double alpha, double eta0, double tolerance, const Controller &out, double *eta_out,
            double *kl_out, int *evaluations) {
    *evaluations = 0;
    *eta_out = eta0;
    *kl_out = std::numeric_limits<double>::infinity();
    if (!prepare()) return kInfeasible;
    const double floor = std::log(kEtaSmallest), ceiling = std::log(kEtaLargest), target = std::log(bound);
    double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
    double x = std::min(std::max(std::log(eta0), floor), ceiling);
    double x_last = 0.0, y_last = 0.0, slope = kFirstSlope;
    bool have_last = false;
    for (;;) {
      const bool at_floor = x <= floor, at_ceiling = x >= ceiling;
      const double eta = at_floor ? (alpha > 0.0 ? 0.0 : kEtaSmallest) : std::exp(x);
      const double kl = evaluate(eta, alpha, out);
      ++*evaluations;
      *eta_out = eta;
      *kl_out = kl;
      if (std::abs(kl / bound - 1.0) <= tolerance) return kConverged;
      if (kl <= bound && at_floor) return kInactive;
      if (kl > bound && at_ceiling) return kInfeasible;
      const double width_before = high - low;
      (kl > bound ? low : high) = x;
      double proposal;
      if (!std::isfinite(kl)) {
        proposal = x + 0.5 * kLargestStep;
      } else {
        const double y = std::log(std::max(kl, 1e-300)) - target;
        if (have_last && x != x_last) {
          const double measured = (y - y_last) / (x - x_last);
          slope = measured < -1e-3 ? measured : kFirstSlope;
        }
        x_last = x;
        y_last = y;
        have_last = true;
        proposal = x - std::min(std::max(y / slope, -kLargestStep), kLargestStep);
      }
      if (std::isfinite(low) && std::isfinite(high)) {
        // Halve the bracket if the proposal lies outside it, or if it shrinks slowly.
        const bool slow = *evaluations > 8 && high - low > 0.5 * width_before;
        if (!(proposal > low && proposal < high) || slow) proposal = 0.5 * (low + high);
      }
      if (*evaluations >= kMostEvaluations || proposal == x) break;
      x = std::min(std::max(proposal, floor), ceiling);
    }
    if (!std::isfinite(high)) return kInfeasible;
    const double eta = std::exp(high);  // the best feasible one found
    *kl_out = evaluate(eta, alpha, out);
    *eta_out = eta;
    ++*evaluations;
    return kExhausted;
  }
};

struct Answer {
  double eta, kl;
  int evaluations, status;
};

template <int DX, int DU>
Answer run(const Problem &p, double bound, double alpha, double eta0, double tolerance,
           const Controller &out) {
  Answer a{};
  Update<DX, DU> update(p);
  a.status = update.solve(bound, alpha, eta0, tolerance, out, &a.eta, &a.kl, &a.evaluations);
  return a;
}

Answer dispatch(const Problem &p, double bound, double alpha, double eta0, double tolerance, bool fixed,
                const Controller &out) {
  if (fixed) {
    if (p.dx == 6 && p.du == 2) return run<6, 2>(p, bound, alpha, eta0, tolerance, out);
    if (p.dx == 14 && p.du == 7) return run<14, 7>(p, bound, alpha, eta0, tolerance, out);
  }
  return run<Dynamic, Dynamic>(p, bound, alpha, eta0, tolerance, out);
}

}  // namespace

extern "C" {

// Run the whole update `repeats` times (at least once), with the time of each in seconds (repeats,) unless that is
// null. fixed != 0 permits the code for fixed sizes. Returns the Status.
int gps_update(long long T, long long dx, long long du, const double *F, const double *c, const double *W,
               const double *initial_mean, const double *initial_cov, const double *C, const double *g,
               const double *K_prev, const double *k_prev, const double *Sigma_prev, double bound,
               double alpha, double eta0, double tolerance, int fixed, double *K, double *k, double *Sigma,
               double *eta, double *kl, int *evaluations, long long repeats, double *seconds) {
  const Problem p{T, dx, du, F, c, W, initial_mean, initial_cov, C, g, K_prev, k_prev, Sigma_prev};
  const Controller out{K, k, Sigma};
  Answer a{};
  for (long long r = 0; r < std::max(1LL, repeats); ++r) {
    const auto start = std::chrono::steady_clock::now();
    a = dispatch(p, bound, alpha, eta0, tolerance, fixed != 0, out);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (seconds) seconds[r] = elapsed.count();
  }
  *eta = a.eta;
  *kl = a.kl;
  *evaluations = a.evaluations;
  return a.status;
}

// Compute the controller and the KL at a given eta, without a search. Returns 0, or 1 if a Quu is not positive
// definite.
int gps_evaluate(long long T, long long dx, long long du, const double *F, const double *c, const double *W,
                 const double *initial_mean, const double *initial_cov, const double *C, const double *g,
                 const double *K_prev, const double *k_prev, const double *Sigma_prev, double alpha,
                 double eta, double *K, double *k, double *Sigma, double *kl) {
  const Problem p{T, dx, du, F, c, W, initial_mean, initial_cov, C, g, K_prev, k_prev, Sigma_prev};
  Update<Dynamic, Dynamic> update(p);
  *kl = std::numeric_limits<double>::infinity();
  if (!update.prepare()) return 1;
  *kl = update.evaluate(eta, alpha, Controller{K, k, Sigma});
  return std::isfinite(*kl) ? 0 : 1;
}

}  // extern "C"
