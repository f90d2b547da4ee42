// Generates with an engine that `moi compile` made, without Python: the engine, its sidecar and a few prompts of ids.
//
//     generate model.engine --policy moi --set beta=0.5 --temperature 0.8 --seed 7 12,5,9 4,4
//
// Prints the new ids, a line for each prompt. docs/engine-without-python.md describes the loop; here it is `generate`.
// Dims: B rows, T positions of a call, S slots of a mixture, V vocabulary.

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using Shape = std::vector<int64_t>;

void require(bool holds, std::string const& otherwise) {
    if (!holds) throw std::runtime_error(otherwise);
}

void check(cudaError_t status) { require(status == cudaSuccess, std::string("CUDA: ") + cudaGetErrorString(status)); }

std::string contents(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    require(bool(file), path + " cannot be read");
    return text.str();
}

// --- JSON, as far as sidecars need it ----------------------------------------------------------------------------

struct Json {
    std::string text;  // of a string, a number or a word
    std::vector<Json> items;
    std::vector<std::pair<std::string, Json>> members;

    Json const& at(std::string const& key) const {
        for (auto const& [name, value] : members)
            if (name == key) return value;
        throw std::runtime_error("the sidecar has no " + key);
    }
    double number() const { return std::strtod(text.c_str(), nullptr); }  // reads "inf", too
    int64_t integer() const { return std::strtoll(text.c_str(), nullptr, 10); }
    bool yes() const { return text == "true"; }
};

class JsonReader {
public:
    explicit JsonReader(std::string const& text) : at_(text.c_str()) {}

    Json value() {
        Json json;
        char const first = peek();
        if (first == '{' || first == '[') {
            char const last = first == '{' ? '}' : ']';
            ++at_;
            while (peek() != last) {
                if (first == '[') {
                    json.items.push_back(value());
                } else {
                    std::string name = string();
                    require(peek() == ':', "the sidecar is not JSON: no colon after " + name);
                    ++at_;
                    json.members.emplace_back(std::move(name), value());
                }
                if (peek() == ',') ++at_;
            }
            ++at_;
        } else if (first == '"') {
            json.text = string();
        } else {
            while (*at_ != '\0' && std::strchr(",]} \t\r\n", *at_) == nullptr) json.text += *at_++;
            require(!json.text.empty(), "the sidecar is not JSON: a value is missing");
        }
        return json;
    }

private:
    char peek() {
        while (*at_ != '\0' && std::strchr(" \t\r\n", *at_) != nullptr) ++at_;
        require(*at_ != '\0', "the sidecar is cut short");
        return *at_;
    }
    std::string string() {
        require(peek() == '"', "the sidecar is not JSON: a string was expected");
        std::string text;
        for (++at_; *at_ != '"'; ++at_) {
            require(*at_ != '\0', "the sidecar is cut short");
            if (*at_ == '\\' && at_[1] != '\0') ++at_;  // names of tensors need no escapes; rules are for readers
            text += *at_;
        }
        ++at_;
        return text;
    }

    char const* at_;
};

// --- random numbers, as the sidecar's rules "noise" and "uniforms" say --------------------------------------------

class Noise {  // MT19937 initialised by an array, which the standard's generator takes as a state alone
public:
    explicit Noise(uint64_t seed) {
        std::vector<uint32_t> key{uint32_t(seed)};
        if (seed >> 32) key.push_back(uint32_t(seed >> 32));
        constexpr uint32_t size = 624;
        std::vector<uint32_t> state(size, 19650218u);
        for (uint32_t i = 1; i < size; ++i) state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + i;
        uint32_t i = 1, j = 0;
        auto advance = [&] {
            if (++i == size) state[0] = state[size - 1], i = 1;
        };
        for (uint32_t k = 0; k < size; ++k) {
            state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1664525u)) + key[j] + j;
            j = (j + 1) % uint32_t(key.size());
            advance();
        }
        for (uint32_t k = 1; k < size; ++k) {
            state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1566083941u)) - i;
            advance();
        }
        state[0] = 0x80000000u;
        std::stringstream text;
        for (uint32_t word : state) text << word << ' ';
        text << size;
        text >> generator_;
        require(bool(text), "this standard library takes no state of MT19937");
    }
    float operator()() { return float(generator_() >> 8) * 0x1p-24f; }

private:
    std::mt19937 generator_;
};

void uniforms(uint64_t seed, uint64_t position, float* out, int64_t count) {  // Philox 4x32-10
    for (int64_t block = 0; 4 * block < count; ++block) {
        uint32_t c[4] = {uint32_t(block), 0, uint32_t(position), uint32_t(position >> 32)};
        uint32_t low = uint32_t(seed), high = uint32_t(seed >> 32);
        for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {
            uint64_t const first = uint64_t(c[0]) * 0xD2511F53u, third = uint64_t(c[2]) * 0xCD9E8D57u;
            uint32_t const next[4] = {uint32_t(third >> 32) ^ c[1] ^ low, uint32_t(third),
                                      uint32_t(first >> 32) ^ c[3] ^ high, uint32_t(first)};
            std::copy(next, next + 4, c);
        }
        for (int64_t w = 4 * block; w < std::min(count, 4 * block + 4); ++w) out[w] = float(c[w % 4] >> 8) * 0x1p-24f;
    }
}

// --- the engine as its sidecar describes it -----------------------------------------------------------------------

struct Tensor {
    bool input = false;
    std::string type;
    Shape shape;  // for the next call
    std::vector<std::string> sizes;  // a number, or the name of an open size
    void* device = nullptr;
    std::vector<char> host;  // what is being copied; it stays until the stream is synchronised
};

int64_t count(Shape const& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

std::map<std::string, std::pair<nvinfer1::DataType, int64_t>> const kTypes = {  // and bytes of an element
    {"float32", {nvinfer1::DataType::kFLOAT, 4}}, {"float16", {nvinfer1::DataType::kHALF, 2}},
    {"bfloat16", {nvinfer1::DataType::kBF16, 2}}, {"int32", {nvinfer1::DataType::kINT32, 4}},
    {"int64", {nvinfer1::DataType::kINT64, 8}},   {"bool", {nvinfer1::DataType::kBOOL, 1}}};

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, char const* message) noexcept override {
        if (severity <= Severity::kWARNING) std::fprintf(stderr, "TensorRT: %s\n", message);
    }
};

class Stream {
public:
    Stream() { check(cudaStreamCreate(&stream_)); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;
    operator cudaStream_t() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

class Engine {
public:
    Engine(std::string const& path, Json description) : sidecar(std::move(description)) {
        std::string const bytes = contents(path);
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        require(runtime_ != nullptr, "TensorRT gives no runtime");
        engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
        require(engine_ != nullptr, path + " cannot be loaded; this TensorRT or this GPU may be another");
        for (Json const& told : sidecar.at("tensors").items) {
            Tensor& tensor = tensors[told.at("name").text];
            tensor.input = told.at("direction").text == "input";
            tensor.type = told.at("dtype").text;
            for (Json const& size : told.at("shape").items) tensor.sizes.push_back(size.text);
            compare(told, tensor);
        }
        require(int32_t(tensors.size()) == engine_->getNbIOTensors(), "the engine has tensors its sidecar lacks");
        for (auto const& [name, number] : sidecar.at("profiles").members) {
            auto& context = contexts_[name];
            context.reset(engine_->createExecutionContext());
            require(context && context->setOptimizationProfileAsync(int32_t(number.integer()), stream_),
                    "no execution context for the profile " + name);
        }
        check(cudaStreamSynchronize(stream_));
    }

    ~Engine() {
        cudaStreamSynchronize(stream_);
        for (void* memory : owned_) cudaFree(memory);
    }
    Engine(Engine const&) = delete;
    Engine& operator=(Engine const&) = delete;

    // Memory of each tensor, for the largest of the calls that `open` sizes describe; the caches start with zeros.
    void allocate(std::vector<std::map<std::string, int64_t>> const& calls) {
        for (auto& [name, tensor] : tensors) {
            size_t bytes = 0;
            for (auto const& open : calls) {
                resize(tensor, open);
                bytes = std::max(bytes, size(tensor));
            }
            if (alias(name).empty()) {
                check(cudaMalloc(&tensor.device, bytes));
                owned_.push_back(tensor.device);
                check(cudaMemsetAsync(tensor.device, 0, bytes, stream_));
            }
        }
        for (auto& [name, tensor] : tensors)
            if (!alias(name).empty()) tensor.device = tensors.at(alias(name)).device;
    }

    template <typename T>
    void put(std::string const& name, std::vector<T> const& values) {
        Tensor& tensor = tensors.at(name);
        require(kTypes.at(tensor.type).second == int64_t(sizeof(T)), name + " has another type than this program takes");
        tensor.host.assign(reinterpret_cast<char const*>(values.data()),
                           reinterpret_cast<char const*>(values.data() + values.size()));
        check(cudaMemcpyAsync(tensor.device, tensor.host.data(), tensor.host.size(), cudaMemcpyHostToDevice, stream_));
    }

    // Enqueues a step: "prefill" or "decode", with these open sizes.
    void run(std::string const& profile, std::map<std::string, int64_t> const& open) {
        nvinfer1::IExecutionContext& context = *contexts_.at(profile);
        for (auto& [name, tensor] : tensors) {
            resize(tensor, open);
            if (tensor.input) {
                nvinfer1::Dims dims{};
                dims.nbDims = int32_t(tensor.shape.size());
                std::copy(tensor.shape.begin(), tensor.shape.end(), dims.d);
                require(context.setInputShape(name.c_str(), dims), name + " is outside the profile " + profile);
            }
            require(context.setTensorAddress(name.c_str(), tensor.device), name + " cannot be bound");
        }
        require(context.enqueueV3(stream_), "TensorRT could not run the step");
    }

    void feed_back() {  // as it is, on the device
        for (auto const& [made, taken] : sidecar.at("feeds").members) {
            Tensor const& source = tensors.at(made);
            check(cudaMemcpyAsync(tensors.at(taken.text).device, source.device, size(source), cudaMemcpyDeviceToDevice,
                                  stream_));
        }
    }

    // Elements [first, first + number) of a tensor, once all that was enqueued is done.
    template <typename T>
    std::vector<T> read(std::string const& name, int64_t first, int64_t number) {
        std::vector<T> values(static_cast<size_t>(number));
        check(cudaMemcpyAsync(values.data(), static_cast<T const*>(tensors.at(name).device) + first,
                              size_t(number) * sizeof(T), cudaMemcpyDeviceToHost, stream_));
        check(cudaStreamSynchronize(stream_));
        return values;
    }

    void replace_slot_0(int64_t row, int32_t id) {
        Tensor const& ids = tensors.at("mix_ids");
        int64_t const slots = tensors.at("next_mix_ids").shape.back();
        check(cudaMemcpyAsync(static_cast<int32_t*>(ids.device) + row * slots, &id, sizeof id, cudaMemcpyHostToDevice,
                              stream_));
        check(cudaStreamSynchronize(stream_));  // `id` goes with this call
    }

    Json const sidecar;
    std::map<std::string, Tensor> tensors;

private:
    std::string alias(std::string const& output) const {
        for (auto const& [name, input] : sidecar.at("aliases").members)
            if (name == output) return input.text;
        return "";
    }

    static void resize(Tensor& tensor, std::map<std::string, int64_t> const& open) {
        tensor.shape.clear();
        for (std::string const& size : tensor.sizes)
            tensor.shape.push_back(open.count(size) ? open.at(size) : std::strtoll(size.c_str(), nullptr, 10));
    }

    static size_t size(Tensor const& tensor) { return size_t(count(tensor.shape) * kTypes.at(tensor.type).second); }

    void compare(Json const& told, Tensor const& tensor) const {
        std::string const& name = told.at("name").text;
        auto const mode = tensor.input ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT;
        require(engine_->getTensorIOMode(name.c_str()) == mode, "the engine and its sidecar differ in " + name);
        require(engine_->getTensorDataType(name.c_str()) == kTypes.at(tensor.type).first,
                name + " has another type in the engine than in its sidecar");
        for (auto const& [profile, ranges] : told.at("profiles").members) {
            int32_t const number = int32_t(sidecar.at("profiles").at(profile).integer());
            auto const dims = engine_->getProfileShape(name.c_str(), number, nvinfer1::OptProfileSelector::kMAX);
            auto const& most = ranges.at("max").items;
            bool same = dims.nbDims == int32_t(most.size());
            for (size_t axis = 0; same && axis < most.size(); ++axis) same = dims.d[axis] == most[axis].integer();
            require(same, name + " has another largest shape in the engine's profile than in its sidecar");
        }
    }

    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;  // outlives the engine, which outlives its contexts
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    Stream stream_;
    std::map<std::string, std::unique_ptr<nvinfer1::IExecutionContext>> contexts_;
    std::vector<void*> owned_;
};

// --- requests -----------------------------------------------------------------------------------------------------

struct Settings {
    float temperature = 1, top_p = 1, min_p = 0;
    int64_t top_k = 0, max_new_tokens = 16;
    std::string policy;  // empty: moi, or token where the graph does not mix
    std::map<std::string, float> values;
    uint64_t seed = 0;  // row i has seed + i
    bool ignore_eos = false;
};

struct Row {
    Shape prompt, made;
    uint64_t seed;
    Noise noise;
    bool finished = false;
};

Json const& policy_of(Json const& sidecar, Settings const& settings) {
    std::string allowed;
    for (Json const& policy : sidecar.at("policies").items) {
        std::string const& name = policy.at("name").text;
        bool const preferred = name == "moi" || sidecar.at("policies").items.size() == 1;
        if (settings.policy.empty() ? preferred : name == settings.policy) return policy;
        allowed += " " + name;
    }
    throw std::runtime_error("policy " + settings.policy + " is unknown; allowed:" + allowed);
}

std::vector<float> parameters_of(Json const& policy, Settings const& settings, int64_t width) {
    std::vector<float> columns(static_cast<size_t>(width));
    std::map<std::string, float> left = settings.values;
    for (Json const& parameter : policy.at("parameters").items) {
        std::string const& name = parameter.at("name").text;
        double value = parameter.at("default").number();
        if (left.count(name)) {
            value = left.at(name);
            double const low = parameter.at("low").number(), high = parameter.at("high").number();
            bool const whole = !parameter.at("integer").yes() || value == std::floor(value);
            require((parameter.at("above").yes() ? value > low : value >= low) && value <= high && whole,
                    name + "=" + std::to_string(value) + " is not allowed");
            left.erase(name);
        }
        columns.at(size_t(parameter.at("column").integer())) = float(value);
    }
    for (auto const& [name, value] : left)
        throw std::runtime_error("policy " + policy.at("name").text + " has no parameter " + name);
    return columns;
}

void check_request(Json const& sidecar, Json const& policy, std::vector<Shape> const& prompts, Settings const& settings) {
    Json const &limits = sidecar.at("profile"), &model = sidecar.at("model");
    auto const most = [&](char const* name) { return limits.at(name).integer(); };
    require(!prompts.empty() && int64_t(prompts.size()) <= most("max_batch"),
            "give 1 to " + limits.at("max_batch").text + " prompts (moi compile --max-batch)");
    require(settings.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
    for (Shape const& prompt : prompts) {
        int64_t const length = int64_t(prompt.size());
        require(length <= most("max_prompt"),
                "a prompt may have " + limits.at("max_prompt").text + " ids (moi compile --max-prompt)");
        require(length + settings.max_new_tokens <= most("max_length"),
                "prompt and new tokens may have " + limits.at("max_length").text + " positions (moi export --max-length)");
        for (int64_t id : prompt)
            require(0 <= id && id < model.at("vocab").integer(), "id " + std::to_string(id) + " is not in the vocabulary");
    }
    int64_t const candidates = model.at("candidates").integer();
    bool const always_decided = settings.temperature == 0 || candidates >= model.at("vocab").integer() ||
                                (1 <= settings.top_k && settings.top_k <= candidates);
    require(always_decided || !policy.at("weights_need_token").yes(),
            "policy " + policy.at("name").text + " needs --top-k 1.." + std::to_string(candidates) + " in this program");
}

// --- rows that the graph's candidates do not decide, as the sidecar's rule "undecided" says -------------------------

float widened(uint16_t bits, bool bfloat) {
    if (bfloat) {
        uint32_t const wide = uint32_t(bits) << 16;
        float value;
        std::memcpy(&value, &wide, sizeof value);
        return value;
    }
    int const exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float const sign = bits >> 15 ? -1.f : 1.f;
    if (exponent == 31) return mantissa ? std::numeric_limits<float>::quiet_NaN() : sign * INFINITY;
    return sign * (exponent ? std::ldexp(float(mantissa + 1024), exponent - 25) : std::ldexp(float(mantissa), -24));
}

std::vector<float> logits_of(Engine& engine, int64_t row) {
    Tensor const& logits = engine.tensors.at("logits");
    int64_t const vocab = logits.shape[1];
    if (logits.type == "float32") return engine.read<float>("logits", row * vocab, vocab);
    std::vector<float> wide;
    for (uint16_t bits : engine.read<uint16_t>("logits", row * vocab, vocab))
        wide.push_back(widened(bits, logits.type == "bfloat16"));
    return wide;
}

// Temperature, top-k, top-p and min-p, then the inverse of the CDF at `noise`, over the whole vocabulary.
int64_t draw(std::vector<float> z, Settings const& settings, float noise) {
    size_t const vocab = z.size();
    for (float& value : z) {
        if (std::isnan(value)) value = -INFINITY;
        value = std::min(value, std::numeric_limits<float>::max());
    }
    std::vector<int64_t> ids(vocab);
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](int64_t a, int64_t b) { return z[size_t(a)] > z[size_t(b)]; });
    float const peak = z[size_t(ids[0])];
    if (peak == -INFINITY || settings.temperature == 0) return ids[0];
    size_t const limit = settings.top_k > 0 ? std::min(size_t(settings.top_k), vocab) : vocab;
    std::vector<float> p(limit);
    float total = 0;
    for (size_t i = 0; i < limit; ++i) total += p[i] = std::exp((z[size_t(ids[i])] - peak) / settings.temperature);
    size_t kept = 0;
    float before = 0, mass = 0;
    for (; kept < limit; ++kept) {
        p[kept] /= total;
        bool const keep = before < settings.top_p && p[kept] >= settings.min_p * p[0] && p[kept] > 0;
        if (!keep) break;  // probabilities fall, so what follows is not kept either
        before += p[kept];
    }
    mass = limit == vocab && settings.top_p >= 1 && settings.min_p <= 0 ? 1.f : before;
    float cdf = 0;
    for (size_t i = 0; i < kept; ++i)
        if ((cdf += p[i]) > noise * mass) return ids[i];
    return ids[kept - 1];  // rounding carried the noise past the last one
}

// --- the loop -----------------------------------------------------------------------------------------------------

std::vector<Row> generate(Engine& engine, std::vector<Shape> const& prompts, Settings const& settings) {
    Json const& policy = policy_of(engine.sidecar, settings);
    check_request(engine.sidecar, policy, prompts, settings);
    std::vector<Row> rows;
    int64_t const batch = int64_t(prompts.size()), slots = engine.sidecar.at("profile").at("slots").integer();
    int64_t longest = 0;
    for (Shape const& prompt : prompts) {
        uint64_t const seed = settings.seed + rows.size();
        rows.push_back({prompt, {}, seed, Noise(seed)});
        longest = std::max(longest, int64_t(prompt.size()));
    }
    std::map<std::string, int64_t> const prefill{{"batch", batch}, {"sequence", longest}, {"slots", 1}};
    std::map<std::string, int64_t> const decode{{"batch", batch}, {"sequence", 1}, {"slots", slots}};
    engine.allocate({prefill, decode});

    auto all = [&](auto value) { return std::vector<decltype(value)>(static_cast<size_t>(batch), value); };
    engine.put("temperature", all(settings.temperature));
    engine.put("top_k", all(settings.top_k));
    engine.put("top_p", all(settings.top_p));
    engine.put("min_p", all(settings.min_p));
    engine.put("policy", all(int32_t(policy.at("code").integer())));
    std::vector<float> parameters;
    auto const own = parameters_of(policy, settings, std::stoll(engine.tensors.at("parameters").sizes[1]));
    for (int64_t row = 0; row < batch; ++row) parameters.insert(parameters.end(), own.begin(), own.end());
    engine.put("parameters", parameters);

    std::vector<int32_t> ids;  // prompts padded on the right: one slot of weight 1 each
    for (Row const& row : rows) {
        ids.insert(ids.end(), row.prompt.begin(), row.prompt.end());
        ids.resize(ids.size() + size_t(longest) - row.prompt.size());
    }
    engine.put("mix_ids", ids);
    engine.put("mix_weights", std::vector<float>(ids.size(), 1.f));

    int64_t const drawn = std::stoll(engine.tensors.at("uniforms").sizes[1]);
    for (bool first = true;; first = false) {
        std::vector<float> noise, uniform(static_cast<size_t>(batch * drawn));
        std::vector<int64_t> write, last;
        for (Row& row : rows) {
            int64_t const length = int64_t(row.prompt.size()), position = length + int64_t(row.made.size());
            if (policy.at("draws").yes())
                ::uniforms(row.seed, uint64_t(position), uniform.data() + int64_t(noise.size()) * drawn, drawn);
            noise.push_back(row.noise());
            write.push_back(first ? 0 : position - 1);
            last.push_back(first ? length - 1 : 0);
        }
        engine.put("noise", noise);
        engine.put("uniforms", uniform);
        engine.put("write_indices", write);
        engine.put("last_index", last);
        engine.run(first ? "prefill" : "decode", first ? prefill : decode);
        engine.feed_back();
        auto const token = engine.read<int64_t>("token", 0, batch);
        auto const decided = engine.read<char>("decided", 0, batch);

        bool unfinished = false;
        for (int64_t i = 0; i < batch; ++i) {
            Row& row = rows[size_t(i)];
            if (row.finished) continue;
            int64_t id = token[size_t(i)];
            if (!decided[size_t(i)]) {
                id = draw(logits_of(engine, i), settings, noise[size_t(i)]);
                engine.replace_slot_0(i, int32_t(id));
            }
            row.made.push_back(id);
            row.finished = int64_t(row.made.size()) == settings.max_new_tokens;
            for (Json const& end : engine.sidecar.at("model").at("eos").items)
                if (!settings.ignore_eos && end.integer() == id) row.finished = true;
            unfinished = unfinished || !row.finished;
        }
        if (!unfinished) return rows;
    }
}

// --- the command --------------------------------------------------------------------------------------------------

Shape ids_of(std::string const& text) {
    Shape ids;
    std::stringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        size_t used = 0;
        try {
            ids.push_back(std::stoll(part, &used));
        } catch (std::logic_error const&) {
            used = 0;
        }
        require(used > 0 && used == part.size(), "'" + text + "' is not a list of ids such as 1,2,3");
    }
    require(!ids.empty(), "a prompt is empty");
    return ids;
}

double number_of(std::string const& option, std::string const& text, double least, double most) {
    char* end = nullptr;
    double const value = std::strtod(text.c_str(), &end);
    require(!text.empty() && *end == '\0' && least <= value && value <= most, option + " " + text + " is not allowed");
    return value;
}

int main(int argc, char** argv) try {
    std::string path;
    std::vector<Shape> prompts;
    Settings settings;
    for (int i = 1; i < argc; ++i) {
        std::string const option = argv[i];
        auto value = [&]() -> std::string {
            require(i + 1 < argc, option + " needs a value");
            return argv[++i];
        };
        auto within = [&](double least, double most) { return number_of(option, value(), least, most); };
        if (option == "--ignore-eos") settings.ignore_eos = true;
        else if (option == "--policy") settings.policy = value();
        else if (option == "--temperature") settings.temperature = float(within(0, 1e30));
        else if (option == "--top-p") settings.top_p = float(within(1e-30, 1));
        else if (option == "--min-p") settings.min_p = float(within(0, 1));
        else if (option == "--top-k") settings.top_k = int64_t(within(0, 2147483647));
        else if (option == "--max-new-tokens") settings.max_new_tokens = int64_t(within(1, 1e9));
        else if (option == "--seed") settings.seed = uint64_t(within(0, 9007199254740992.0));
        else if (option == "--set") {
            std::string const given = value();
            size_t const equals = given.find('=');
            require(equals != std::string::npos, "--set needs NAME=VALUE");
            settings.values[given.substr(0, equals)] = float(number_of(option, given.substr(equals + 1), -INFINITY, INFINITY));
        }
        else if (option.rfind("--", 0) == 0) throw std::runtime_error("unknown option " + option);
        else if (path.empty()) path = option;
        else prompts.push_back(ids_of(option));
    }
    require(!path.empty(), "usage: generate ENGINE [--policy NAME] [--set NAME=VALUE] [--temperature T] [--top-k K] "
                           "[--top-p P] [--min-p P] [--max-new-tokens N] [--seed S] [--ignore-eos] IDS...");
    if (settings.temperature < 1e-6f) settings.temperature = 0;  // the logits / temperature would leave float32
    std::string const text = contents(path + ".json");
    Json const sidecar = JsonReader(text).value();
    require(sidecar.at("format").integer() == 2, path + ".json has another format; compile the engine again");
    Engine engine(path, sidecar);
    for (Row const& row : generate(engine, prompts, settings)) {
        for (size_t i = 0; i < row.made.size(); ++i) std::printf("%s%lld", i ? "," : "", static_cast<long long>(row.made[i]));
        std::printf("\n");
    }
    return 0;
} catch (std::exception const& error) {
    std::fprintf(stderr, "generate: %s\n", error.what());
    return 2;
}
